package transcript

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// enums spell the policy fields whose Go values have no text of their own.
var enums = map[string][]string{"SetCookie": {"explicit", "store", "strip"}}

// ApplyPolicy sets the fields of policy, a pointer to a struct, that the
// script's policy lines name.
func (s *Script) ApplyPolicy(policy any) error {
	for _, set := range s.Policy {
		if err := apply(reflect.ValueOf(policy).Elem(), set.Key, set.Value); err != nil {
			return fmt.Errorf("%s:%d: policy %s=%s: %w", s.Name, set.Line, set.Key, set.Value, err)
		}
	}
	return nil
}

func apply(policy reflect.Value, key, value string) error {
	name, index, indexed := strings.Cut(key, ".")
	field := policy.FieldByName(name)
	if !field.IsValid() {
		return fmt.Errorf("there is no such field")
	}
	if !indexed {
		return set(field, name, value)
	}
	if field.Kind() != reflect.Map || field.Type().Key().Kind() != reflect.Int {
		return fmt.Errorf("the field is not indexed")
	}
	n, err := strconv.Atoi(index)
	if err != nil {
		return err
	}
	if field.IsNil() {
		field.Set(reflect.MakeMap(field.Type()))
	}
	element := reflect.New(field.Type().Elem()).Elem()
	if err := set(element, name, value); err != nil {
		return err
	}
	field.SetMapIndex(reflect.ValueOf(n), element)
	return nil
}

// set parses value as v's kind of value. An integer with a unit is a duration
// in nanoseconds.
func set(v reflect.Value, name, value string) error {
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		v.SetBool(b)
		return err
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			var d time.Duration
			d, err = time.ParseDuration(value)
			n = int64(d)
		}
		v.SetInt(n)
		return err
	case reflect.Uint8:
		for i, text := range enums[name] {
			if text == value {
				v.SetUint(uint64(i))
				return nil
			}
		}
		return fmt.Errorf("want one of %v", enums[name])
	case reflect.Slice:
		var list [][]byte
		for _, x := range strings.Split(value, ",") {
			if x = strings.TrimSpace(x); x != "" {
				list = append(list, []byte(x))
			}
		}
		v.Set(reflect.ValueOf(list))
		return nil
	}
	return fmt.Errorf("fields of kind %v cannot be set", v.Kind())
}
