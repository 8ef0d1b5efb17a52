// Package kmsglab makes Kafka requests for tests: one of every API in every
// version, with two of everything that a request can list.
package kmsglab

import (
	"fmt"
	"iter"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Keys are the keys of all APIs that kmsg knows.
func Keys() iter.Seq[int16] {
	return func(yield func(int16) bool) {
		for key := range int16(kmsg.MaxKey + 1) {
			if kmsg.RequestForKey(key) != nil && !yield(key) {
				return
			}
		}
	}
}

// Requests are filled requests of one API, one for each version.
func Requests(key int16) iter.Seq[kmsg.Request] {
	return func(yield func(kmsg.Request) bool) {
		for version := range kmsg.RequestForKey(key).MaxVersion() + 1 {
			if !yield(Request(key, version)) {
				return
			}
		}
	}
}

// Request returns a request whose lists have two elements each, whose pointers
// are set, and in which no two strings and no two numbers are alike.
func Request(key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	var f filler
	f.fill(reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

// filler counts the fields that it has filled.
type filler struct{ n int64 }

func (f *filler) next() int64 {
	f.n++
	return f.n%127 + 1 // an INT8 holds it, and it is never 0: a Produce with acks=0 has no response
}

func (f *filler) fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[kmsg.Tags]():
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte("bytes"))
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			f.fill(field)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case v.Kind() == reflect.Array:
		v.Index(0).SetUint(uint64(f.next()))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case v.Kind() == reflect.String:
		f.n++
		v.SetString(fmt.Sprint("text-", f.n))
	case v.CanInt():
		v.SetInt(f.next())
	case v.CanUint():
		v.SetUint(uint64(f.next()))
	case v.CanFloat():
		v.SetFloat(0.5)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	default:
		panic("cannot fill " + v.Type().String())
	}
}
