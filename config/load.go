package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
)

// Load reads, decodes and validates the file at path. The error is an Errors
// where the file could be read.
func Load(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer file.Close()
	// One byte more than allowed shows that there are more.
	data, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("config: reading %s: %w", path, err)
	}
	return Parse(path, data)
}

// Parse decodes and validates data. name is the file it is from: errors name it,
// and relative paths in data are relative to its directory. The files that data
// names are read. The error is an Errors with everything that is wrong.
func Parse(name string, data []byte) (*Config, error) {
	d := newDecoder(name)
	if root := document(data, d.reporter); root != nil {
		d.nodes[""] = root
		if isNull(root) {
			d.node(root, "", "the file is empty")
		} else {
			d.mapping(root, "", reflect.ValueOf(d.config).Elem())
			dir, err := filepath.Abs(filepath.Dir(name))
			if err != nil {
				return nil, fmt.Errorf("config: the directory of %s: %w", name, err)
			}
			d.complete(dir)
			d.validate()
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.config, nil
}

// Default returns a configuration in which every key has its default. It serves
// nothing yet: it has no listener, origin or route.
func Default() *Config {
	c := &Config{Version: 1}
	v := reflect.ValueOf(c).Elem()
	setDefaults(v, v)
	return c
}

// DefaultListen is where ForOrigin listens if it is not told.
const DefaultListen = "127.0.0.1:8080"

// ForOrigin returns the configuration of `edge run --origin URL`: everything
// goes to one origin, which is sent the URL's authority as Host and server name.
// listen and admin are addresses as in the file; empty, they are DefaultListen
// and the default of admin.address.
func ForOrigin(rawURL, listen, admin string) (*Config, error) {
	d := newDecoder("")
	c := d.config
	root := reflect.ValueOf(c).Elem()

	var l Listener
	setDefaults(reflect.ValueOf(&l).Elem(), root)
	if listen == "" {
		listen = DefaultListen
	}
	if err := l.Address.UnmarshalText([]byte(listen)); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if admin != "" {
		if err := c.Admin.Address.UnmarshalText([]byte(admin)); err != nil {
			return nil, fmt.Errorf("--admin: %w", err)
		}
	}
	endpoint := Endpoint{Weight: 1}
	if err := endpoint.URL.UnmarshalText([]byte(rawURL)); err != nil {
		return nil, fmt.Errorf("--origin: %w", err)
	}
	const name = "origin"
	o := &Origin{}
	setDefaults(reflect.ValueOf(o).Elem(), root)
	o.Endpoints = []Endpoint{endpoint}
	if endpoint.URL.Network == "tcp" {
		o.Host = endpoint.URL.Authority
	}
	var r Route
	setDefaults(reflect.ValueOf(&r).Elem(), root)
	r.Origin = name
	c.Listeners, c.Origins, c.Routes = []Listener{l}, map[string]*Origin{name: o}, []Route{r}

	d.complete("")
	d.validate()
	if len(d.errors) > 0 {
		// There is no file whose lines could be named.
		var all []error
		for _, e := range d.errors {
			all = append(all, fmt.Errorf("%s: %s", e.Path, e.Message))
		}
		return nil, errors.Join(all...)
	}
	return c, nil
}
