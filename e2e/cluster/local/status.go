package local

import (
	"fmt"
	"os"
	"text/tabwriter"
)

func statusCommand(args []string) error {
	set, dir := flags("status")
	c, err := parseCluster(set, dir, args)
	if err != nil {
		return err
	}
	return c.Status()
}

// Status prints what runs. Its error says what does not.
func (c *Cluster) Status() error {
	if err := requireRoot(); err != nil {
		return err
	}
	fmt.Printf("folder             %s\nnetwork namespace  %s\ncgroup             /%s\n\n", c.Dir, c.netnsPath(), c.Name)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tPID\tSTATE")
	for _, p := range readRecord(c.recordPath()) {
		state := "running"
		if !p.alive() {
			state = "ended"
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", p.Name, p.PID, state)
	}
	table.Flush()
	fmt.Println()
	if err := c.ready(); err != nil {
		return fmt.Errorf("the cluster is not ready: %w", err)
	}
	fmt.Println("The node is ready.")
	return nil
}
