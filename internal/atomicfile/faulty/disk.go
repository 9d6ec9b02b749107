package faulty

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"qtool/internal/atomicfile"
)

// disk is a folder as the running system sees it, and what of it is durable.
type disk struct {
	names   map[string]*inode // by path relative to the folder
	durable map[string]*inode
	pending map[string][]change // of each folder, in order: what its next sync makes durable
	open    map[atomicfile.Handle]*inode
}

// inode is a file or a folder, whatever its name.
type inode struct {
	folder bool
	data   []byte
	synced []byte // data when it was last synced
}

// change is a change of names in one folder.
type change struct {
	gone, there string // paths; "" for none
	what        *inode // that is there
}

func (c change) apply(names map[string]*inode) {
	if c.gone != "" {
		delete(names, c.gone)
	}
	if c.there != "" {
		names[c.there] = c.what
	}
}

// readDisk reads a real folder, taking all for durable.
func readDisk(root string) (*disk, error) {
	d := &disk{names: map[string]*inode{}, pending: map[string][]change{}, open: map[atomicfile.Handle]*inode{}}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		node := &inode{folder: e.IsDir()}
		if !node.folder {
			if node.data, err = os.ReadFile(path); err != nil {
				return err
			}
			node.synced = slices.Clone(node.data)
		}
		name, err := filepath.Rel(root, path)
		d.names[name] = node
		return err
	})
	d.durable = maps.Clone(d.names)
	return d, err
}

// clone copies d with all its files.
func (d *disk) clone() *disk {
	copies := map[*inode]*inode{}
	copied := func(n *inode) *inode {
		if n != nil && copies[n] == nil {
			copies[n] = &inode{n.folder, slices.Clone(n.data), n.synced}
		}
		return copies[n]
	}
	c := &disk{map[string]*inode{}, map[string]*inode{}, map[string][]change{}, map[atomicfile.Handle]*inode{}}
	for name, n := range d.names {
		c.names[name] = copied(n)
	}
	for name, n := range d.durable {
		c.durable[name] = copied(n)
	}
	for dir, list := range d.pending {
		for _, ch := range list {
			c.pending[dir] = append(c.pending[dir], change{ch.gone, ch.there, copied(ch.what)})
		}
	}
	for h, n := range d.open {
		c.open[h] = copied(n)
	}
	return c
}

// apply does to d what a call did below root.
func (d *disk) apply(c Call, root string) {
	name, to := below(root, c.Name), below(root, c.To)
	switch c.Kind {
	case Create, Append:
		if d.names[name] == nil {
			d.change(change{there: name, what: &inode{}})
		}
		d.open[c.h] = d.names[name]
	case Mkdir:
		d.change(change{there: name, what: &inode{folder: true}})
	case Remove:
		d.change(change{gone: name})
	case Rename:
		d.change(change{gone: name, there: to, what: d.names[name]})
	case SyncFolder:
		for _, ch := range d.pending[name] {
			ch.apply(d.durable)
		}
		delete(d.pending, name)
	default:
		d.open[c.h].apply(c)
	}
}

// change changes names now, and with the next sync of their folder durably. Both names of
// a rename are in one folder, or the change is taken for one of the folder that it goes to.
func (d *disk) change(c change) {
	dir := filepath.Dir(c.gone)
	if c.there != "" {
		dir = filepath.Dir(c.there)
	}
	d.pending[dir] = append(d.pending[dir], c)
	c.apply(d.names)
}

func (n *inode) apply(c Call) {
	switch c.Kind {
	case Write: // at the end: no handle goes back
		n.data = append(n.data, c.data...)
	case WriteAt:
		if end := int(c.n) + len(c.data); end > len(n.data) {
			n.data = append(n.data, make([]byte, end-len(n.data))...)
		}
		copy(n.data[c.n:], c.data)
	case Truncate:
		n.data = n.data[:c.n]
	case Sync:
		n.synced = slices.Clone(n.data)
	}
}

func below(root, path string) string {
	if path == "" {
		return ""
	}
	name, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(name) {
		panic("faulty: " + path + " is not in the folder that is recorded, " + root)
	}
	return name
}
