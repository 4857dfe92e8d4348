package letagentpay

import (
	"reflect"
	"time"
)

var timeType = reflect.TypeFor[time.Time]()

// sameValue is [reflect.DeepEqual], except that times are equal if they are the same instant: encoding a time drops its
// monotonic clock reading.
func sameValue(a, b reflect.Value) bool { return equalValues(a, b, 0) }

// maxValueDepth limits the recursion, because a user's codec may return cycles.
const maxValueDepth = 1000

// equalValues compares two values at the given depth.
func equalValues(a, b reflect.Value, depth int) bool {
	if depth > maxValueDepth {
		return false
	}
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	if a.Type() == timeType && a.CanInterface() && b.CanInterface() {
		return a.Interface().(time.Time).Equal(b.Interface().(time.Time))
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return equalValues(a.Elem(), b.Elem(), depth+1)
	case reflect.Struct:
		for i := range a.NumField() {
			if !equalValues(a.Field(i), b.Field(i), depth+1) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.IsNil() != b.IsNil() {
			return false
		}
		return equalElements(a, b, depth)
	case reflect.Array:
		return equalElements(a, b, depth)
	case reflect.Map:
		return equalEntries(a, b, depth)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return a.IsZero() && b.IsZero()
	default:
		return a.Equal(b)
	}
}

func equalElements(a, b reflect.Value, depth int) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if !equalValues(a.Index(i), b.Index(i), depth+1) {
			return false
		}
	}
	return true
}

func equalEntries(a, b reflect.Value, depth int) bool {
	if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
		return false
	}
	for entries := a.MapRange(); entries.Next(); {
		if !equalValues(entries.Value(), b.MapIndex(entries.Key()), depth+1) {
			return false
		}
	}
	return true
}
