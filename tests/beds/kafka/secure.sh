#!/usr/bin/env bash
# Makes the bed a secured one: TLS, mutual TLS, SASL (SCRAM and PLAIN) and ACLs, beside the plain listener, whose user may do everything.
#
#   secure.sh settings DIR PORT [IP]
#                                  makes a CA and the broker's certificate in DIR; prints the settings for `kafka.sh start`. Listeners
#                                  of IP (127.0.0.1): PORT plain, PORT+2 SASL_SSL, PORT+3 SSL with client certificates
#   secure.sh user DIR NAME PASS   a SCRAM user on the running bed (PLAIN: user `plain`, password `plain-secret`)
#   secure.sh client DIR NAME      a client's certificate and key: DIR/NAME.crt, DIR/NAME.key; its principal is User:NAME
#   secure.sh grant ARGS...        kafka-acls with these arguments, as the plain listener's user
#
#   kafka.sh start --port 9292 $(secure.sh settings DIR 9292)
# The settings hold no spaces, so they can be handed over like that.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Certificates for a month: long enough for a test, too short to be used elsewhere.
authority() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=spoolway-test-ca -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null
}

certificate() { # certificate DIR NAME [IP]
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$1/$2.key" -out "$1/$2.csr" 2>/dev/null
  openssl x509 -req -in "$1/$2.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -CAcreateserial -days 30 -out "$1/$2.crt" \
    -extfile <(echo "subjectAltName=IP:${3:-127.0.0.1},DNS:localhost") 2>/dev/null
}

settings() {
  local dir=$1 port=$2 ip=${3:-127.0.0.1}
  mkdir -p "$dir"
  authority "$dir"
  certificate "$dir" broker "$ip"
  cat "$dir/broker.key" "$dir/broker.crt" >"$dir/broker.pem"
  # A property's \u0020 is a space: so each setting stays one word.
  tr '\n' ' ' <<EOF
listeners=PLAINTEXT://$ip:$port,CONTROLLER://$ip:$((port + 1)),SASL_SSL://$ip:$((port + 2)),SSL://$ip:$((port + 3))
advertised.listeners=PLAINTEXT://$ip:$port,SASL_SSL://$ip:$((port + 2)),SSL://$ip:$((port + 3))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location=$dir/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/ca.crt
listener.name.ssl.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*\$/\$1/,DEFAULT
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule\\u0020required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule\\u0020required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule\\u0020required\\u0020user_plain="plain-secret";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
EOF
}

address() { "$here/kafka.sh" bootstrap; }

case ${1:-} in
  settings) settings "${@:2}" ;;
  client) certificate "$2" "$3" ;;
  user)
    "$here/kafka.sh" run kafka.admin.ConfigCommand --bootstrap-server "$(address)" --alter \
      --add-config "SCRAM-SHA-512=[password=$4]" --entity-type users --entity-name "$3"
    ;;
  grant) shift; "$here/kafka.sh" run org.apache.kafka.tools.AclCommand --bootstrap-server "$(address)" "$@" ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
