package main

import (
	"net"
	"testing"
	"time"

	"qtool/internal/ollama/server"
)

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitServer waits until the server of OLLAMA_HOST answers.
func awaitServer(t *testing.T) {
	t.Helper()
	u, err := server.Address(server.Environment())
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if _, err = server.New(u).Version(t.Context()); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}
