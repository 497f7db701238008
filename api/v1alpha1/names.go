package v1alpha1

// Objects in the operator's namespace that operator and gateway agree on. The
// operator makes and rotates them.
const (
	// TokenKeysSecret holds the ring (RingKey) that signs tickets and room tokens.
	TokenKeysSecret = "voiceroom-token-keys"
	// OperatorKeySecret holds the ring of the operator's calls to media pods. The
	// gateway cannot read it.
	OperatorKeySecret = "voiceroom-operator-key"
	// GatewayKeySecret holds the ring of the gateways' calls to media pods.
	GatewayKeySecret = "voiceroom-gateway-key"
	// RingKey is the key of each of these Secrets: a token.Ring.
	RingKey = "ring.json"

	// CASecret holds the certificate authority of the media pods' control API.
	CASecret = "voiceroom-ca"

	// PublicKeysConfigMap holds the public halves (mediaapi.TokensFile and so on) and
	// the CA's certificate (CAFile). One in the operator's namespace for the gateway,
	// a copy in the media namespace for the pods.
	PublicKeysConfigMap = "voiceroom-keys"
	// CAFile is the PEM certificate of the CA in PublicKeysConfigMap.
	CAFile = "ca.crt"

	// TicketKey is the key of a ticket in the Secret that carries one.
	TicketKey = "ticket"
)
