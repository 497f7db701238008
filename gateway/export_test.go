package gateway

// Routes are the rows of the API as "METHOD path", for the test that compares them
// with docs/openapi.yaml.
func (g *Gateway) Routes() []string {
	var all []string
	for _, r := range g.routes() {
		all = append(all, r.method+" "+r.path)
	}
	return all
}
