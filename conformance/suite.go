package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// The package. Its integrity is pinned like its version: whatever registry npm
// is configured for, it is this tarball or none.
const (
	packageName      = "http-cache-tests"
	packageVersion   = "0.4.5"
	packageIntegrity = "sha512-DjuwN9nUZXLTW+wav1LRESCZNVxl8SshwOy4z1pxuWbWt5/ay6sM9QQ1lebBaDO6P1IMBoK6mdf+PuVP/QNL8A=="
)

// minNode is the oldest major version of Node that will do.
const minNode = 20

// suite is an installed suite. The package and newer checkouts differ in where
// things are.
type suite struct {
	name   string // as printed
	dir    string
	cli    string // the client, relative to dir
	server string // the origin, relative to dir
	pinned bool   // it is the package
}

// checkNode says clearly what is missing where the suite cannot run.
func checkNode(ctx context.Context) error {
	out, err := output(ctx, toolTimeout, exec.Command("node", "--version"))
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("the suite needs Node %d or newer, and there is no node in PATH", minNode)
	}
	if err != nil {
		return err
	}
	if major, ok := nodeMajor(string(out)); !ok || major < minNode {
		return fmt.Errorf("the suite needs Node %d or newer; node --version says %q", minNode, out)
	}
	return nil
}

var nodeVersion = regexp.MustCompile(`^v(\d+)\.`)

func nodeMajor(version string) (int, bool) {
	m := nodeVersion.FindStringSubmatch(version)
	if m == nil {
		return 0, false
	}
	major, err := strconv.Atoi(m[1])
	return major, err == nil
}

// findSuite returns the suite in a checkout, or without one the package,
// installed first where that has not been done yet.
func findSuite(ctx context.Context, checkout string, stdout io.Writer) (*suite, error) {
	if checkout != "" {
		dir, err := filepath.Abs(checkout)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
			return nil, fmt.Errorf("%s: its dependencies are not there: run npm install in it", checkout)
		}
		return layout(&suite{name: "a checkout of " + packageName, dir: dir})
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	prefix := filepath.Join(cache, "edge-conformance", packageName+"-"+packageVersion)
	if !installed(prefix) {
		if err := install(ctx, prefix, stdout); err != nil {
			return nil, err
		}
	}
	return layout(&suite{name: packageName + " " + packageVersion, dir: filepath.Join(prefix, "node_modules", packageName), pinned: true})
}

// layout finds the suite's programs.
func layout(s *suite) (*suite, error) {
	for _, engine := range []string{"test-engine", "."} {
		cli, server := filepath.Join(engine, "cli.mjs"), filepath.Join(engine, "server", "server.mjs")
		if isFile(filepath.Join(s.dir, cli)) && isFile(filepath.Join(s.dir, server)) {
			s.cli, s.server = cli, server
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s: neither cli.mjs nor test-engine/cli.mjs: this is not the suite", s.dir)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// install has npm install the package, from whatever registry npm is
// configured for. Nothing that comes with it is run by that.
func install(ctx context.Context, prefix string, stdout io.Writer) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("installing the suite needs npm, and there is none in PATH")
	}
	if err := os.MkdirAll(prefix, 0o755); err != nil {
		return err
	}
	say(stdout, "installing %s %s\n", packageName, packageVersion)
	cmd := exec.Command("npm", "install", "--prefix", prefix, "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund",
		packageName+"@"+packageVersion)
	cmd.Dir = prefix
	if _, err := output(ctx, installTime, cmd); err != nil {
		return err
	}
	if !installed(prefix) {
		return fmt.Errorf("what npm installed as %s %s is not the package that is pinned here", packageName, packageVersion)
	}
	return nil
}

// installed reports whether npm has installed the pinned package. npm writes
// the file that says so last.
func installed(prefix string) bool {
	b, err := os.ReadFile(filepath.Join(prefix, "node_modules", ".package-lock.json"))
	if err != nil {
		return false
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if json.Unmarshal(b, &lock) != nil {
		return false
	}
	p := lock.Packages["node_modules/"+packageName]
	return p.Version == packageVersion && p.Integrity == packageIntegrity
}

// loopbackOnly is loaded before the origin, which would listen on every
// address: it has no option for that.
const loopbackOnly = `data:text/javascript,` +
	`import net from 'node:net';` +
	`const listen = net.Server.prototype.listen;` +
	`net.Server.prototype.listen = function (port) { return listen.call(this, port, '127.0.0.1') }`

// originCommand is the suite's origin, on a free port of loopback.
func (s *suite) originCommand(temp string) *exec.Cmd {
	cmd := exec.Command("node", "--no-warnings", "--import", loopbackOnly, s.server)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "npm_config_protocol=http", "npm_config_port=0", "npm_config_pidfile="+filepath.Join(temp, "origin.pid"))
	return cmd
}

// clientCommand is the suite's client. id is one test, or empty for all.
func (s *suite) clientCommand(base, id string) *exec.Cmd {
	cmd := exec.Command("node", "--no-warnings", s.cli)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "npm_config_base="+base, "npm_config_id="+id, "npm_package_config_id="+id)
	return cmd
}

// printTests prints the default export of the module it is given.
const printTests = `process.stdout.write(JSON.stringify((await import(process.argv[1])).default))`

// tests returns the definitions of the tests, group by group as the suite has
// them.
func (s *suite) tests(ctx context.Context) ([]group, error) {
	index := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(s.dir, "tests", "index.mjs"))}
	out, err := output(ctx, toolTimeout, exec.Command("node", "--no-warnings", "--input-type=module", "--eval", printTests, index.String()))
	if err != nil {
		return nil, err
	}
	return parseTests(out)
}
