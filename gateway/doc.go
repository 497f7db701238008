// Package gateway is the HTTP door of the deployment: what browsers, back ends and
// plain WHIP or WHEP clients talk to. docs/openapi.yaml describes its API.
//
// A gateway holds nothing that another one needs: rooms are resources, read from a
// cache; who is in a room is the media pod's to know; who may ask is in what the
// caller shows. Any number of them serve at once.
//
// # A request
//
// Each route is a row of a table (see routes): method, path, how large a body and
// of which type, and a handler that returns an error. One place ([Gateway.serve])
// measures, bounds, answers errors as RFC 9457 problems with a stable code, and
// logs, never a query, a token or a body.
//
// # Who asks
//
// Authorization: Bearer carries one of:
//
//   - a ticket that we signed: a host's, a granted JoinRequest's, or a guest's
//     identity where guests are allowed;
//   - an ID token of the deployer's OpenID Connect issuer;
//   - an API key, with X-Voiceroom-User naming whom the back end speaks for;
//   - a room token, expired or not, for what concerns the session that it opened,
//     and to come back after a fail-over.
//
// An invite is not an identity: it goes in the body of a join, beside one.
//
// A member acts on its room through its session, whose role the pod knows. Back ends and
// the owner act from outside: the gateway authorises them (see authority.go), and is the
// room's control plane for them.
//
// # Where a room is
//
// The VoiceRoom's status says which pod holds the room under which epoch. The cache
// may lag; that is safe, because every call to a pod carries the epoch and the pod
// refuses a wrong one. Only before renewing a pod's admission lease does the
// gateway ask the API server itself: see [Gateway.thaw].
package gateway
