package devnode

import "testing"

func TestExpand(t *testing.T) {
	values := map[string]string{"POD_IP": "127.1.2.3", "EMPTY": "", "NESTED": "$(POD_IP)"}
	for in, want := range map[string]string{
		"plain":                      "plain",
		"$(POD_IP):8080":             "127.1.2.3:8080",
		"$(POD_IP)$(POD_IP)":         "127.1.2.3127.1.2.3",
		"[$(EMPTY)]":                 "[]",
		"$(UNKNOWN)":                 "$(UNKNOWN)",
		"$(UNKNOWN) then $(POD_IP)":  "$(UNKNOWN) then 127.1.2.3",
		"$$(POD_IP)":                 "$(POD_IP)",
		"$$$(POD_IP)":                "$127.1.2.3",
		"$POD_IP, ${POD_IP}, $(open": "$POD_IP, ${POD_IP}, $(open",
		"$(NESTED)":                  "$(POD_IP)", // a value is not expanded again
		"ends with $":                "ends with $",
	} {
		if got := expand(in, values); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMountsRewrite(t *testing.T) {
	m := mounts{"/etc/keys": "/pod/keys", "/etc": "/pod/etc", "/data": "/pod/data"}
	for in, want := range map[string]string{
		"/etc/keys":                        "/pod/keys",
		"/etc/keys/a.pem":                  "/pod/keys/a.pem",
		"/etc/other":                       "/pod/etc/other",
		"/etc/keys2":                       "/pod/etc/keys2",
		"/database":                        "/database",
		"--keys=/etc/keys/a.pem":           "--keys=/pod/keys/a.pem",
		"/data/a:/etc/keys,/data":          "/pod/data/a:/pod/keys,/pod/data",
		"https://host/etc/keys":            "https://host/etc/keys",
		"see /etc/keys":                    "see /etc/keys", // no list of paths looks like that
		"--a=/usr/etc/keys":                "--a=/usr/etc/keys",
		"file:///etc/keys":                 "file:///etc/keys",
		"--pair=public=/etc/keys/pub:0600": "--pair=public=/pod/keys/pub:0600",
		"":                                 "",
	} {
		if got := m.rewrite(in); got != want {
			t.Errorf("rewrite(%q) = %q, want %q", in, got, want)
		}
	}
}
