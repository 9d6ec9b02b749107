package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"qtool/train"
)

// Five steps on the base and the data that the package carries.
func ExampleJob_Run() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	job := train.NewJob()
	job.UseDemo()
	job.Config.Steps = 5
	job.Adapter = filepath.Join(dir, "adapter.gguf")
	var losses []float64
	job.Observer.Event = func(e train.Event) error {
		if e.Type == train.StepEvent {
			losses = append(losses, e.Loss)
		}
		return nil
	}
	report, err := job.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Steps, "steps; the loss fell:", losses[4] < losses[0])
	fmt.Println("held-out loss fell:", *report.After.Loss < *report.Before.Loss)
	// Output:
	// 5 steps; the loss fell: true
	// held-out loss fell: true
}
