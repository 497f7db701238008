package documents

import (
	"reflect"
	"slices"
	"strings"
)

// Fields are the names that a struct has as JSON, sorted.
func Fields(v any) []string {
	names := []string{}
	for f := range reflect.TypeOf(v).Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
