//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const haproxyName = "haproxy"

// haproxy is HAProxy, with at most one more line in its defaults.
func haproxy(name, about, option string) target {
	return target{
		name: name, about: about, blind: true,
		find: func(ctx context.Context, _ *env) (string, error) {
			path, err := exec.LookPath("haproxy")
			if err != nil {
				return "", errors.New("not installed (Debian: apt-get install haproxy)")
			}
			return firstLine(exec.CommandContext(ctx, path, "-v")), nil
		},
		start: func(ctx context.Context, e *env, r route) (*running, error) {
			run := &running{}
			var b strings.Builder
			fmt.Fprintf(&b, "global\n  nbthread %d\n  maxconn %d\n", e.threads, e.connections())
			bind, server := e.haproxyTLS(&b, r.tls)
			fmt.Fprintf(&b, "defaults\n  mode tcp\n  maxconn %d\n", e.connections())
			fmt.Fprintf(&b, "  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n")
			if option != "" {
				fmt.Fprintf(&b, "  %s\n", option)
			}
			for i, to := range r.upstream {
				fmt.Fprintf(&b, "listen broker%d\n  bind %s%s\n  server broker%d %s%s\n", i, r.listen(i), bind, i, to, server)
				run.addresses = append(run.addresses, r.listen(i))
			}
			run.config = b.String()
			dir, err := e.configured(name, "haproxy.cfg", run.config)
			if err != nil {
				return nil, err
			}
			run.server, err = e.serve(name, e.command(ctx, r.place.proxy, "haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg")))
			return run, err
		},
	}
}

// haproxySplice is HAProxy with splicing, which has no effect on TLS.
func haproxySplice() target {
	t := haproxy("haproxy-splice", "HAProxy, mode tcp, option splice-auto", "option splice-auto")
	t.noTLS = "left out of workloads with TLS, which cannot be spliced: it would be haproxy again"
	return t
}

// haproxyTLS writes the TLS options of the global section, and returns those of the bind
// and server lines.
func (e *env) haproxyTLS(global *strings.Builder, sides tlsSides) (bind, server string) {
	const pinned = "  ssl-default-%[1]s-options ssl-min-ver TLSv1.3\n  ssl-default-%[1]s-ciphersuites " + tlsSuiteName + "\n"
	if sides.down() {
		fmt.Fprintf(global, pinned, "bind")
		bind = " ssl crt " + e.keys.Cert
	}
	if sides.up() {
		fmt.Fprintf(global, pinned, "server")
		server = fmt.Sprintf(" ssl verify required ca-file %s sni str(%s) verifyhost %s", e.keys.Cert, tlsName, tlsName)
	}
	return bind, server
}

// configured writes a configuration into a directory of the target's own.
func (e *env) configured(name, file, text string) (string, error) {
	dir, err := e.private(name)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644)
}

const nginxMissing = "not installed with its stream module (Debian: apt-get install nginx-light libnginx-mod-stream)"

// nginx is nginx's stream proxy with buffers of this size.
func nginx(name, buffer string) target {
	return target{
		name: name, about: "nginx, stream, proxy_buffer_size " + buffer, blind: true,
		find: func(ctx context.Context, _ *env) (string, error) {
			path, err := exec.LookPath("nginx")
			if err != nil {
				return "", errors.New(nginxMissing)
			}
			if _, err := nginxStream(ctx); err != nil {
				return "", err
			}
			return firstLine(exec.CommandContext(ctx, path, "-v")), nil
		},
		start: func(ctx context.Context, e *env, r route) (*running, error) {
			module, err := nginxStream(ctx)
			if err != nil {
				return nil, err
			}
			run := &running{}
			var b strings.Builder
			b.WriteString(module)
			fmt.Fprintf(&b, "daemon off;\nworker_processes %d;\npid nginx.pid;\n", e.threads)
			// Each worker has the file limit of a process, and connections of its own.
			fmt.Fprintf(&b, "events { worker_connections %d; }\n", 2*e.connections())
			fmt.Fprintf(&b, "stream {\n  proxy_buffer_size %s;\n  proxy_connect_timeout 10s;\n  proxy_timeout 1h;\n", buffer)
			ssl := e.nginxTLS(&b, r.tls)
			for i, to := range r.upstream {
				fmt.Fprintf(&b, "  server { listen %s%s; proxy_pass %s; }\n", r.listen(i), ssl, to)
				run.addresses = append(run.addresses, r.listen(i))
			}
			b.WriteString("}\n")
			run.config = b.String()
			dir, err := e.configured(name, "nginx.conf", run.config)
			if err != nil {
				return nil, err
			}
			run.server, err = e.serve(name, e.command(ctx, r.place.proxy, "nginx",
				"-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log")))
			return run, err
		},
	}
}

// nginxTLS writes the TLS options of the stream section, and returns those of the listen
// line.
func (e *env) nginxTLS(stream *strings.Builder, sides tlsSides) (listen string) {
	if sides.down() {
		fmt.Fprintf(stream, "  ssl_certificate %s;\n  ssl_certificate_key %s;\n", e.keys.Cert, e.keys.Key)
		fmt.Fprintf(stream, "  ssl_protocols TLSv1.3;\n  ssl_conf_command Ciphersuites %s;\n", tlsSuiteName)
		listen = " ssl"
	}
	if sides.up() {
		fmt.Fprintf(stream, "  proxy_ssl on;\n  proxy_ssl_verify on;\n  proxy_ssl_trusted_certificate %s;\n", e.keys.Cert)
		fmt.Fprintf(stream, "  proxy_ssl_name %s;\n  proxy_ssl_server_name on;\n", tlsName)
		fmt.Fprintf(stream, "  proxy_ssl_protocols TLSv1.3;\n  proxy_ssl_conf_command Ciphersuites %s;\n", tlsSuiteName)
	}
	return listen
}

// nginxStream is the line that loads the stream module, if it is one of its own.
func nginxStream(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "nginx", "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nginx -V: %w", err)
	}
	return nginxModule(string(out), func(file string) bool { _, err := os.Stat(file); return err == nil })
}

func nginxModule(built string, exists func(string) bool) (string, error) {
	if !strings.Contains(built, "--with-stream=dynamic") {
		if strings.Contains(built, "--with-stream") {
			return "", nil
		}
		return "", errors.New(nginxMissing)
	}
	dir := regexp.MustCompile(`--modules-path=(\S+)`).FindStringSubmatch(built)
	if dir == nil || !exists(filepath.Join(dir[1], "ngx_stream_module.so")) {
		return "", errors.New(nginxMissing)
	}
	return fmt.Sprintf("load_module %s;\n", filepath.Join(dir[1], "ngx_stream_module.so")), nil
}
