// Command cmd runs the cluster that tests of hack/cluster get, for people to look at.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"voiceroom.dev/voiceroom/hack/cluster"
	"voiceroom.dev/voiceroom/hack/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := &cobra.Command{
		Use:   "cluster",
		Short: "Run the Kubernetes cluster that tests get",
		Long: `Run the Kubernetes cluster that tests get: kind where a Docker engine runs, else nodes that are built and started here,
which takes root on Linux. There is one on a machine at a time.

  go run ./hack/cluster/cmd up --product &
  go run ./hack/cluster/cmd status
  go run ./hack/cluster/cmd down`,
		SilenceUsage: true,
	}
	root.AddCommand(up(), down(), load(), status(), tools())
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func up() *cobra.Command {
	opts := cluster.Options{Progress: os.Stderr}
	product := false
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster and keep it until this command is interrupted",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			if product {
				dir, err := os.MkdirTemp("", "voiceroom-images-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				files, err := images.Build(ctx, dir, images.Options{Progress: os.Stderr})
				if err != nil {
					return err
				}
				opts.Images = append(opts.Images, files...)
			}
			c, err := cluster.Start(ctx, opts)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Stop()) }()
			fmt.Printf("export KUBECONFIG=%s\n", c.Kubeconfig())
			fmt.Fprintf(os.Stderr, "logs: %s\n", c.LogDir())
			for _, node := range c.Nodes() {
				fmt.Fprintf(os.Stderr, "%s: %s\n", node.Name, node.Address)
			}
			<-ctx.Done()
			fmt.Fprintln(os.Stderr, "stopping")
			return nil
		},
	}
	cmd.Flags().IntVar(&opts.Nodes, "nodes", 1, "how many nodes")
	cmd.Flags().StringVar(&opts.LogDir, "logs", "", "a directory for logs, which stay there (default: one that goes with the cluster)")
	cmd.Flags().StringSliceVar(&opts.Images, "image", nil, "a file with an image, as docker save writes it, to load")
	cmd.Flags().BoolVar(&product, "product", false, "build and load the product's images, voiceroom-<command>:dev")
	return cmd
}

func down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the cluster, and remove what a killed one left behind",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cluster.Down(cmd.Context()) },
	}
}

func load() *cobra.Command {
	return &cobra.Command{
		Use:   "load FILE...",
		Short: "Give every node the images of files as docker save writes them",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, files []string) error { return cluster.Load(cmd.Context(), files...) },
	}
}

func status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say whether a cluster runs, and show its nodes and pods if kubectl is installed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pid, err := cluster.Holder()
			if err != nil {
				return err
			}
			if pid == 0 {
				fmt.Println("no cluster runs on this machine")
				return nil
			}
			path, err := cluster.Kubeconfig()
			if err != nil {
				return err
			}
			fmt.Printf("process %d runs a cluster\nexport KUBECONFIG=%s\n", pid, path)
			kubectl := exec.CommandContext(cmd.Context(), "kubectl", "--kubeconfig="+path, "get", "nodes,pods", "-A", "-o", "wide")
			kubectl.Stdout, kubectl.Stderr = os.Stdout, os.Stderr
			if _, err := exec.LookPath("kubectl"); err != nil {
				return nil
			}
			return kubectl.Run()
		},
	}
}

func tools() *cobra.Command {
	return &cobra.Command{
		Use:   "tools",
		Short: "Get what a cluster is made of, which up does too: it takes minutes the first time",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cluster.GetTools(cmd.Context(), os.Stderr) },
	}
}
