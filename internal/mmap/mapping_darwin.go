package mmap

func preferLargePages([]byte) {}
