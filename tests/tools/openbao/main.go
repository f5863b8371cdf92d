// The OpenBao server for the tests. OpenBao's own module cannot be installed by version: its go.mod replaces modules.
package main

import (
	"os"

	"github.com/openbao/openbao/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
