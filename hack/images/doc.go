// Package images builds the product's container images without a container engine and without a registry: static
// binaries by the recipe of the Dockerfile, each in a file as `docker save` writes them.
//
//	files, err := images.Build(ctx, dir, images.Options{Version: "v1.2.3", Progress: os.Stderr})
//
// They differ from what the Dockerfile gives in one thing: there is no distribution below the binary, but the files of
// one that the binary reads (certificates of authorities, the user's name).
package images
