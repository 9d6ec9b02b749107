package ollama

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Store is a folder in which an Ollama keeps its models.
type Store struct {
	Dir   string
	Owner string // whose it is, such as "yours"
}

// Folders of a store.
const (
	manifestsFolder = "manifests"
	blobsFolder     = "blobs"
)

// system is where stores can be.
type system struct {
	os     string
	models string // $OLLAMA_MODELS
	home   string // "" if it is not known
	root   string // of the file system
}

// Stores lists the stores of this machine that are there, or may be there where a folder
// cannot be read: the one that OLLAMA_MODELS names alone, else the user's own, those of
// system services, and other users'.
func Stores() []Store {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	root := "/"
	if runtime.GOOS == "windows" {
		root = filepath.VolumeName(home) + `\`
	}
	return system{runtime.GOOS, strings.TrimSpace(os.Getenv("OLLAMA_MODELS")), home, root}.stores()
}

// stores are the candidates that are there. Of folders that cannot be read only those
// count that belong to no other user, since most users have no store.
func (s system) stores() (list []Store) {
	seen := map[string]bool{}
	for _, c := range s.candidates() {
		info, err := os.Stat(c.manifests())
		there := err == nil && info.IsDir() || c.certain || c.service && unreadable(err)
		if there && !seen[c.Dir] {
			list = append(list, c.Store)
		}
		seen[c.Dir] = true
	}
	return list
}

// candidate is where a store can be.
type candidate struct {
	Store
	certain bool // the user says so
	service bool // of this user or a system service
}

// candidates lists where a store can be, the most likely first.
func (s system) candidates() (list []candidate) {
	if s.models != "" {
		return []candidate{{Store{filepath.Clean(s.models), "OLLAMA_MODELS"}, true, true}}
	}
	add := func(owner string, service bool, names ...string) {
		list = append(list, candidate{Store{filepath.Join(names...), owner}, false, service})
	}
	if s.home != "" {
		add("yours", true, s.home, ".ollama", "models")
	}
	homes := "Users"
	if s.os != "windows" && s.os != "darwin" {
		homes = "home"
		for _, service := range services {
			add("the system service's", true, s.root, filepath.FromSlash(service))
		}
		add("root's", false, s.root, "root", ".ollama", "models")
	}
	users, err := os.ReadDir(filepath.Join(s.root, homes))
	if err != nil {
		return list // there are no other users to be seen
	}
	for _, u := range users {
		add(u.Name()+"'s", false, s.root, homes, u.Name(), ".ollama", "models")
	}
	return list
}

// services are the stores of Ollama's installer and of distributions.
var services = []string{
	"usr/share/ollama/.ollama/models", "var/lib/ollama/.ollama/models", "var/lib/ollama/models", "var/snap/ollama/common/models",
}

// unreadable reports whether an error says that this user may not look.
func unreadable(err error) bool { return errors.Is(err, fs.ErrPermission) }

// manifests is the folder of a store's manifests.
func (s Store) manifests() string { return filepath.Join(s.Dir, manifestsFolder) }

// blob is the path of a blob of the given digest.
func (s Store) blob(digest string) (string, error) {
	name, err := blobName(digest)
	if err != nil {
		return "", err
	}
	return filepath.Join(s.Dir, blobsFolder, name), nil
}

// notFolder is in the chain of the error about a path that leads through a file.
const notFolder = syscall.ENOTDIR
