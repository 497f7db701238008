// Package spec says what a machine is: the words between hack/node and the first process of a node.
package spec

// Machine is a node's machine.
type Machine struct {
	Name     string
	Var      string            // the directory that is its /var
	LogDir   string            // of what the programs print: <name>.log
	Path     string            // PATH of the programs
	Tunables map[string]string // below /proc/sys: settings that are the host's and are not to change
	Network  [][]string        // arguments of ip(8) that set the network up
	Programs []Program         // in the order of their start
}

// Program is a process that is started again whenever it ends.
type Program struct {
	Name    string
	Command []string
	Serves  string // a file that is there once the program serves; the next program is started then
}
