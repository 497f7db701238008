//go:build linux

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	cgroups = "/sys/fs/cgroup"
	// cgroupRoot is the control group that a node's pods are in, and the node's name.
	cgroupPrefix = "voiceroom-"
)

// hierarchies returns the directories that a control group has to be made in: the one of version 2, or one for each
// controller of version 1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		return []string{cgroups}, nil
	}
	entries, err := os.ReadDir(cgroups)
	if err != nil {
		return nil, fmt.Errorf("find the control groups: %w", err)
	}
	var dirs []string
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != "unified" {
			dirs = append(dirs, filepath.Join(cgroups, entry.Name()))
		}
	}
	return dirs, nil
}

// makeCgroup makes the control group of a node, with every controller.
func makeCgroup(node string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		group := filepath.Join(dir, cgroupPrefix+node)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make the control group of %s: %w", node, err)
		}
		if err := fill(dir, group); err != nil {
			return fmt.Errorf("set up the control group of %s: %w", node, err)
		}
	}
	return nil
}

// fill makes group usable: in version 1 a new group has no CPUs, in version 2 it has no controllers.
func fill(parent, group string) error {
	controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err == nil {
		enable := []byte("+" + strings.Join(strings.Fields(string(controllers)), " +"))
		return errors.Join(
			os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), enable, 0),
			os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), enable, 0))
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(group, name), value, 0)); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes the control groups of all nodes. No process is in them any more.
func removeCgroups() error {
	groups, err := filepath.Glob(filepath.Join(cgroups, "*", cgroupPrefix+"node-*"))
	if err != nil {
		return err
	}
	unified, err := filepath.Glob(filepath.Join(cgroups, cgroupPrefix+"node-*"))
	if err != nil {
		return err
	}
	for _, group := range append(groups, unified...) {
		var dirs []string
		if err := filepath.WalkDir(group, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		}); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove a control group: %w", err)
		}
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("remove a control group: %w", err)
			}
		}
	}
	return nil
}
