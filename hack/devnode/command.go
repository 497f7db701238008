package devnode

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// command builds the process of a pod's container: binary for the image or command[0], then the rest of command and
// args, variables expanded and mount paths mapped. dir becomes the working directory unless the container names one.
func (p *projector) command(ctx context.Context, binary, dir string, mapped mounts) (*exec.Cmd, error) {
	container := &p.pod.Spec.Containers[0]
	values, order, err := p.environment(ctx, container)
	if err != nil {
		return nil, err
	}
	var args []string
	if len(container.Command) > 0 {
		args = append(args, container.Command[1:]...)
	}
	args = append(args, container.Args...)
	for i, arg := range args {
		args[i] = mapped.rewrite(expand(arg, values))
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	if container.WorkingDir != "" {
		cmd.Dir = mapped.rewrite(container.WorkingDir)
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fmt.Errorf("make the pod's TMPDIR: %w", err)
	}
	// Of two values the last one counts, so the container's own go last.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + temp, "HOSTNAME=" + p.pod.Name}
	for _, name := range order {
		cmd.Env = append(cmd.Env, name+"="+mapped.rewrite(values[name]))
	}
	return cmd, nil
}

// environment returns the container's variables and their order. A later one may refer to an earlier one.
func (p *projector) environment(ctx context.Context, container *corev1.Container) (map[string]string, []string, error) {
	values := map[string]string{}
	var order []string
	for _, env := range container.Env {
		value, present, err := p.value(ctx, env, values)
		if err != nil {
			return nil, nil, fmt.Errorf("environment variable %s: %w", env.Name, err)
		}
		if present {
			values[env.Name] = value
			order = append(order, env.Name)
		}
	}
	return values, order, nil
}

// value is that of one variable; present is false for an optional key that is missing.
func (p *projector) value(ctx context.Context, env corev1.EnvVar, before map[string]string) (value string, present bool, err error) {
	from := env.ValueFrom
	switch {
	case from == nil:
		return expand(env.Value, before), true, nil
	case from.FieldRef != nil, from.ResourceFieldRef != nil:
		value, err = p.facts.value(from.FieldRef, from.ResourceFieldRef)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		data, err := p.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		if err != nil {
			return "", false, err
		}
		return pickKey(data, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional)
	default: // a secretKeyRef; others are refused before: see unsupported
		data, err := p.secret(ctx, from.SecretKeyRef.Name, from.SecretKeyRef.Optional)
		if err != nil {
			return "", false, err
		}
		return pickKey(data, from.SecretKeyRef.Key, from.SecretKeyRef.Optional)
	}
}

// pickKey returns one key of a ConfigMap or Secret.
func pickKey(data map[string][]byte, name string, optional *bool) (string, bool, error) {
	value, ok := data[name]
	if !ok && !isTrue(optional) {
		return "", false, &wanting{"CreateContainerConfigError", fmt.Sprintf("there is no key %q", name)}
	}
	return string(value), ok, nil
}

// expand replaces $(NAME) by the variable's value. A name that is not defined stays as it is, and $$ stands for $, as
// the documentation of Container.args says.
func expand(s string, values map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		s = after
		if rest, ok := strings.CutPrefix(s, "$"); ok {
			out.WriteByte('$')
			s = rest
			continue
		}
		if inner, ok := strings.CutPrefix(s, "("); ok {
			if name, rest, closed := strings.Cut(inner, ")"); closed {
				if value, defined := values[name]; defined {
					out.WriteString(value)
					s = rest
					continue
				}
			}
		}
		out.WriteByte('$')
	}
}

// mounts has the real directory of every mountPath.
type mounts map[string]string

// rewrite replaces mount paths in s by real ones. A mount path counts where it is a whole path or its beginning, at
// the start of s or after one of "=", ":" and ",": as in /keys/a, --keys=/keys or /bin:/keys. The deepest mount wins.
func (m mounts) rewrite(s string) string {
	var out strings.Builder
	for {
		end := strings.IndexAny(s, "=:,")
		if end < 0 {
			out.WriteString(m.real(s))
			return out.String()
		}
		out.WriteString(m.real(s[:end]))
		out.WriteByte(s[end])
		s = s[end+1:]
	}
}

// real maps one path.
func (m mounts) real(path string) string {
	deepest := ""
	for mountPath := range m {
		if (path == mountPath || strings.HasPrefix(path, mountPath+"/")) && len(mountPath) > len(deepest) {
			deepest = mountPath
		}
	}
	if deepest == "" {
		return path
	}
	return m[deepest] + path[len(deepest):]
}
