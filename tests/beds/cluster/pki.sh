#!/usr/bin/env bash
# The bed's certificates and kubeconfigs: pki.sh DIR NODES. Anew at every `up`; elliptic keys, since RSA takes seconds.
set -euo pipefail
mkdir -p "$1"
cd "$1"
nodes=$2

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

ca() { # ca FILE NAME
  key "$1"
  openssl req -x509 -new -key "$1.key" -days 30 -subj "/CN=$2" -out "$1.crt"
}

cert() { # cert FILE SUBJECT CA serverAuth|clientAuth [NAMES]
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA "$3.crt" -CAkey "$3.key" -set_serial "0x$(openssl rand -hex 8)" -days 30 -out "$1.crt" 2>/dev/null -extfile <(
      printf 'keyUsage=digitalSignature\nextendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n' "$4"
      [ -z "${5:-}" ] || echo "subjectAltName=$5"
    )
}

user() { # user FILE SUBJECT ADDRESS: a client's certificate in a kubeconfig
  cert "$1" "$2" ca clientAuth
  cat >"$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: bed, cluster: {server: "https://$3:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: me, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: bed, context: {cluster: bed, user: me}}]
current-context: bed
EOF
}

ca ca kubernetes-ca
ca front-ca front-proxy-ca
service=kubernetes.default.svc
cert apiserver /CN=kube-apiserver ca serverAuth \
  "DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:10.200.0.1"
cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client ca clientAuth
cert front-client /CN=front-proxy-client front-ca clientAuth
user admin /O=system:masters/CN=kubernetes-admin 127.0.0.1
user controller-manager /CN=system:kube-controller-manager 127.0.0.1
user scheduler /CN=system:kube-scheduler 127.0.0.1
user proxy /CN=system:kube-proxy 10.200.0.1
for i in $(seq "$nodes"); do
  user "n$i" "/O=system:nodes/CN=system:node:n$i" 10.200.0.1
  cert "n$i-serving" "/CN=n$i" ca serverAuth "DNS:n$i,IP:10.200.0.1$i"
done
# Signs the tokens of service accounts.
key sa
openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
