package nn

import (
	"reflect"
	"testing"
	"unsafe"

	"qtool/internal/kernel/product"
)

func TestAllMemoryOfAWorkerIsCounted(t *testing.T) {
	var w attentionWork
	counted := 0
	var visit func(v reflect.Value, path string)
	visit = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field, name := v.Field(i), path+v.Type().Field(i).Name
			switch field.Kind() {
			case reflect.Struct:
				if field.Type() != reflect.TypeFor[product.Matrix]() { // a view, too
					visit(field, name+".")
				}
			case reflect.Slice:
				if v.Type().Field(i).Name == "data" {
					continue // a view of what is counted elsewhere
				}
				before := w.bytes()
				made := reflect.MakeSlice(field.Type(), 1000, 1000)
				reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(made)
				if grown, want := w.bytes()-before, int64(1000*field.Type().Elem().Size()); grown != want {
					t.Errorf("%s of %d bytes counts as %d", name, want, grown)
				}
				counted++
			}
		}
	}
	visit(reflect.ValueOf(&w).Elem(), "")
	if counted < 20 {
		t.Errorf("only %d buffers were found", counted)
	}
}
