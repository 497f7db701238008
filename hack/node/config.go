//go:build linux

package node

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// configuration is what the files in config/ are filled in with.
type configuration struct {
	Name    string // of the node
	Etc     string // the directory of these files
	Logs    string // the directory of the node's logs
	DNS     string // address of the Service
	Pods    string // the node's range of pods' addresses
	AllPods string // that of all nodes
	Cgroup  string // of the node's pods
	Plugins string // the directory of network plugins
	Pause   string // the image of a pod's first process
	Socket  string // where containerd serves
}

//go:embed config
var configs embed.FS

// writeConfigs fills in the configuration of a node's programs, in dir.
func writeConfigs(dir string, c configuration) error {
	templates, err := template.ParseFS(configs, "config/*")
	if err != nil {
		return fmt.Errorf("read the configuration of nodes: %w", err)
	}
	for name, in := range map[string]string{
		"containerd.toml": ".", "kubelet.yaml": ".", "kube-proxy.yaml": ".", "pods.conflist": "cni",
	} {
		file, err := os.Create(filepath.Join(dir, in, name))
		if err != nil {
			return fmt.Errorf("configure %s: %w", c.Name, err)
		}
		err = templates.ExecuteTemplate(file, name, c)
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return fmt.Errorf("configure %s: %w", c.Name, err)
		}
	}
	return nil
}
