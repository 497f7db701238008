// Package signingkeys makes, rotates and publishes the keys of a deployment: the
// ring that signs tickets and room tokens, the rings of the two callers of media
// pods, and the certificate authority of the pods' control API.
//
// A key is published before it is kept: its public half reaches both ConfigMaps
// first, and only then the Secret that others sign from. So nothing is ever signed
// that nobody can verify, whatever write the operator dies at. A rotated key also
// waits for token.Rotation.Publish before it signs, while ConfigMaps travel to
// their pods.
//
// The authority lives a year. The next one is trusted a day before it signs, the
// former ones until what they signed has expired; pools get certificates of the new
// one within minutes. Nothing restarts, and no call fails meanwhile.
//
// An administrator revokes a key by deleting its Secret: the ring that replaces it has
// nothing of the old one, is published in its place and signs at once. Whatever the old
// one signed is void from there on. A Secret that cannot be read is never replaced.
//
// [Keyring] is the same in memory, for the rest of the operator.
package signingkeys
