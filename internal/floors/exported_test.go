package floors

import (
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// public are the packages that other modules can import: what they take and give must not
// be of a package that those cannot.
var public = []string{"gguf", "safetensors", "quantize", "quantize/imatrix", "lora", "train", "train/run"}

func TestPublicPackagesTakeAndGiveOnlyPublicTypes(t *testing.T) {
	load := importer.ForCompiler(token.NewFileSet(), "gc", compiled(t))
	packages := map[string]*types.Package{}
	named := map[*types.TypeName]bool{} // types of internal packages that a public one gives a name
	for _, path := range public {
		p, err := load.Import(module + path)
		if err != nil {
			t.Fatal(err)
		}
		packages[path] = p
		for _, name := range p.Scope().Names() {
			o, _ := p.Scope().Lookup(name).(*types.TypeName)
			if o == nil || !o.Exported() || !o.IsAlias() {
				continue
			}
			if n, ok := types.Unalias(o.Type()).(*types.Named); ok {
				named[n.Obj()] = true
			}
		}
	}
	for path, p := range packages {
		x := &exposed{named: named, seen: map[types.Type]bool{}}
		for _, name := range p.Scope().Names() {
			if o := p.Scope().Lookup(name); o.Exported() {
				x.object(o, path+"."+name)
			}
		}
		for _, found := range x.found {
			t.Error(found)
		}
	}
}

// compiled finds what the compiler says of the public packages and of all that they import,
// which the go command makes or has in its cache: reading their sources takes far longer.
func compiled(t *testing.T) importer.Lookup {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}")
	for _, path := range public {
		list.Args = append(list.Args, module+path)
	}
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

// exposed collects where types of internal packages can be reached by exported names.
type exposed struct {
	named map[*types.TypeName]bool
	seen  map[types.Type]bool
	found []string
}

func (x *exposed) object(o types.Object, at string) {
	if _, isType := o.(*types.TypeName); !isType {
		x.look(o.Type(), at)
		return
	}
	is := types.Unalias(o.Type())
	x.look(is.Underlying(), at)
	methods := types.NewMethodSet(types.NewPointer(is))
	for m := range methods.Methods() {
		if m.Obj().Exported() {
			x.look(m.Obj().Type(), at+"."+m.Obj().Name())
		}
	}
}

// look goes through all that a user of a type can name or reach.
func (x *exposed) look(t types.Type, at string) {
	if n, ok := t.(*types.Named); ok && internal(n.Obj()) && !x.named[n.Obj()] {
		x.found = append(x.found, at+" mentions "+n.Obj().Pkg().Path()+"."+n.Obj().Name())
		return
	}
	if x.seen[t] {
		return
	}
	x.seen[t] = true
	switch t := t.(type) {
	case *types.Named:
		x.lookNamed(t, at)
	case *types.Alias:
		x.look(types.Unalias(t), at)
	case *types.Pointer:
		x.look(t.Elem(), at)
	case *types.Slice:
		x.look(t.Elem(), at)
	case *types.Array:
		x.look(t.Elem(), at)
	case *types.Chan:
		x.look(t.Elem(), at)
	case *types.Map:
		x.look(t.Key(), at)
		x.look(t.Elem(), at)
	case *types.Signature:
		for _, list := range []*types.Tuple{t.Params(), t.Results()} {
			for v := range list.Variables() {
				x.look(v.Type(), at)
			}
		}
		for p := range t.TypeParams().TypeParams() {
			x.look(p.Constraint(), at)
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				x.look(f.Type(), at+"."+f.Name())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				x.look(m.Type(), at+"."+m.Name())
			}
		}
		for e := range t.EmbeddedTypes() {
			x.look(e, at)
		}
	case *types.Union:
		for term := range t.Terms() {
			x.look(term.Type(), at)
		}
	}
}

func internal(o *types.TypeName) bool {
	return o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module+"internal/")
}

// lookNamed looks at a type with a name. Exported ones are looked at where they are declared;
// what an unexported one of the module offers can be reached by its users.
func (x *exposed) lookNamed(t *types.Named, at string) {
	for arg := range t.TypeArgs().Types() {
		x.look(arg, at)
	}
	if o := t.Obj(); !o.Exported() && o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module) {
		x.object(o, at)
	}
}
