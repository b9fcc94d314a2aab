package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/unleak/unleak/internal/report"
)

// formats are the ways to write a report; the first is the default.
var formats = [...]struct {
	name  string
	write func(io.Writer, report.Report, report.Style) error
}{
	{"text", report.Text},
	{"json", func(w io.Writer, r report.Report, _ report.Style) error { return report.JSON(w, r) }},
}

func formatNames() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// An output is where the report goes. A file is opened before the work begins,
// so that its result cannot be lost for want of a place; it gets its name only
// when it is whole.
type output struct {
	w     io.Writer
	style report.Style
	do    func(io.Writer, report.Report, report.Style) error
	file  *os.File // a temporary file, or nil
	path  string   // what the file is to be named
}

func (a *app) openOutput(f scanFlags) (*output, error) {
	out := &output{w: a.stdout, style: report.Style{Verbose: f.verbose}}
	for _, format := range formats {
		if format.name == f.format.value {
			out.do = format.write
		}
	}
	if f.output == "" {
		out.style.Color, out.style.Width = a.appearance(f)
		return out, nil
	}
	path, err := filepath.EvalSymlinks(string(f.output))
	if errors.Is(err, fs.ErrNotExist) {
		path, err = string(f.output), nil
	}
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("--output %s: not a regular file; without --output the report goes to standard output", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".unleak-*.tmp") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	out.w, out.file, out.path = file, file, path
	return out, nil
}

func (o *output) write(r report.Report) error {
	err := o.do(o.w, r, o.style)
	if err == nil && o.file != nil {
		err = o.finish()
	}
	if err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
}

// finish gives the file its name.
func (o *output) finish() error {
	if err := errors.Join(o.file.Sync(), o.file.Close()); err != nil {
		return err
	}
	if err := os.Rename(o.file.Name(), o.path); err != nil {
		return err
	}
	o.file = nil
	return nil
}

// discard removes what was not written to its end.
func (o *output) discard() {
	if o.file != nil {
		o.file.Close()
		os.Remove(o.file.Name())
	}
}
