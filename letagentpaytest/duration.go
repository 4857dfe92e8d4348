package letagentpaytest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"time"
)

// duration is a time.Duration that JSON holds as text.
type duration time.Duration

// UnmarshalText reads a Go duration, such as "1.5s".
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// MarshalText writes what UnmarshalText reads.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// decodeStruct reads a JSON object into the struct that into points to, with its durations as text. The tags of the
// struct name the keys; any other key is an error.
func decodeStruct(data []byte, into any) error {
	target := reflect.ValueOf(into).Elem()
	read := reflect.New(withTextDurations(target.Type())).Elem()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields() // a misspelt key must not be ignored
	if err := decoder.Decode(read.Addr().Interface()); err != nil {
		return err
	}
	copyFields(target, read)
	return nil
}

// encodeStruct writes what decodeStruct reads.
func encodeStruct(value any) ([]byte, error) {
	source := reflect.ValueOf(value)
	written := reflect.New(withTextDurations(source.Type())).Elem()
	copyFields(written, source)
	return json.Marshal(written.Interface())
}

// withTextDurations returns a struct type with the fields of another, durations as text.
func withTextDurations(original reflect.Type) reflect.Type {
	var fields []reflect.StructField
	for field := range original.Fields() {
		if field.Type == reflect.TypeFor[time.Duration]() {
			field.Type = reflect.TypeFor[duration]()
		}
		fields = append(fields, field)
	}
	return reflect.StructOf(fields)
}

func copyFields(target, source reflect.Value) {
	for i := range target.NumField() {
		target.Field(i).Set(source.Field(i).Convert(target.Field(i).Type()))
	}
}
