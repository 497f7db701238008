// Command plot draws what test/bench/media measured, JSON from its input, into a PNG. It is a module of its own,
// so that what draws is no dependency of the product.
package main

import (
	"encoding/json"
	"fmt"
	"image/color"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

const (
	width, height = 24 * vg.Centimeter, 11 * vg.Centimeter
	resolution    = 110 // dots per inch
)

// results are what is drawn.
type results struct {
	Talkers int
	Dots    []dot
}

// dot is one mode at one number of listeners.
type dot struct {
	Mode      string
	Listeners int
	Cost      float64 // us of CPU for a packet
	Core      float64 // cores that the server takes
}

// Colours that remain apart for the colour-blind (Okabe and Ito), in the order in which modes come.
var colours = []color.Color{
	color.RGBA{0x66, 0x66, 0x66, 0xff}, color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: plot FILE.png < results.json")
	}
	var r results
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return fmt.Errorf("reading the results: %w", err)
	}
	packet, err := r.panel(fmt.Sprintf("CPU per packet, %d talkers", r.Talkers), "microseconds", func(d dot) float64 { return d.Cost })
	if err != nil {
		return err
	}
	server, err := r.panel(fmt.Sprintf("CPU of the server, %d talkers", r.Talkers), "cores", func(d dot) float64 { return d.Core })
	if err != nil {
		return err
	}
	packet.Legend.Top = true
	server.Legend = plot.NewLegend()
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(resolution))
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Centimeter, PadTop: 3 * vg.Millimeter, PadBottom: 3 * vg.Millimeter, PadLeft: 3 * vg.Millimeter, PadRight: 5 * vg.Millimeter}
	for i, row := range plot.Align([][]*plot.Plot{{packet, server}}, tiles, draw.New(canvas))[0] {
		[]*plot.Plot{packet, server}[i].Draw(row)
	}
	out, err := os.Create(os.Args[1])
	if err != nil {
		return fmt.Errorf("creating the picture: %w", err)
	}
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(out); err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	return out.Close()
}

// panel draws one figure of each mode against the number of listeners, both logarithmic.
func (r *results) panel(title, unit string, figure func(dot) float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "listeners", unit
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{}, ticks{}
	p.Add(plotter.NewGrid())
	lines := map[string]plotter.XYs{}
	var order []string
	for _, d := range r.Dots {
		if len(lines[d.Mode]) == 0 {
			order = append(order, d.Mode)
		}
		lines[d.Mode] = append(lines[d.Mode], plotter.XY{X: float64(d.Listeners), Y: figure(d)})
	}
	drawn := 0
	for _, mode := range order {
		if len(lines[mode]) < 2 {
			continue // measured at one size only
		}
		line, points, err := plotter.NewLinePoints(lines[mode])
		if err != nil {
			return nil, fmt.Errorf("drawing %s: %w", mode, err)
		}
		c := colours[drawn%len(colours)]
		drawn++
		line.Color, line.Width = c, vg.Points(1.8)
		points.Color, points.Shape, points.Radius = c, draw.CircleGlyph{}, vg.Points(3)
		p.Add(line, points)
		p.Legend.Add(mode, line, points)
	}
	return p, nil
}

// ticks are at 1, 2 and 5 of each decade.
type ticks struct{}

// Ticks implements plot.Ticker.
func (ticks) Ticks(least, most float64) []plot.Tick {
	var all []plot.Tick
	for decade := 1e-4; decade <= most; decade *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if v := n * decade; v >= least*0.999 && v <= most*1.001 {
				all = append(all, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 3, 64)})
			}
		}
	}
	return all
}
