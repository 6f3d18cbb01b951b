# SPDX-License-Identifier: Apache-2.0
# zt as a subject of the harness that measures tunnels side by side: PEERS_EXTRA=zt_subject.sh, and
# ZT names the program. What the harness gives: bg, until_ok, wait_tcp, block_direct, the hosts cl
# (client), rl (relay) and cn (connector), $RL, $SVC and the scratch folder $RUN.
SUBJECTS+=" zt zt-relay"

# zt_house makes a controller on the relay's host, a relay, a connector and a service account that
# may reach the service, and leaves the account's key in $RUN/zt/key.
zt_house() {
  local d=$RUN/zt
  rm -rf "$d"; mkdir -p "$d"
  bg rl "$ZT" controller serve --state "$d/controller" --listen "$RL:8443" --host "$RL"
  until_ok test -s "$d/controller/admin.json"
  export ZT_ADMIN=$d/controller/admin.json
  until_ok ns rl "$ZT" admin network list
  ns rl "$ZT" admin network create office
  (umask 077
   ns rl "$ZT" admin relay token --name relay --address "$RL:4433" > "$d/relay.token"
   ns rl "$ZT" admin connector token office --name gate > "$d/connector.token")
  bg rl "$ZT" relay serve --state "$d/relay" --token-file "$d/relay.token" --listen "$RL:4433"
  bg cn "$ZT" connector --state "$d/connector" --token-file "$d/connector.token"
  ns rl "$ZT" admin resource create service --network office --address "$SVC" \
    --tcp 1-65535 --udp 1-65535
  ns rl "$ZT" admin service-account create bench
  ns rl "$ZT" admin service-account key bench --out "$d/key"
  ns rl "$ZT" admin rule create bench --subject svc:bench --resource service
} >> "$RUN/zt-house.log" 2>&1

# zt_client starts the client with FLAGS… and waits until it has served a flow.
zt_client() {
  TARGET=127.0.0.1 UDP=1
  bg cl "$ZT" client up --state "$RUN/zt/client" --socket "$RUN/zt/client/control.sock" \
    --key-file "$RUN/zt/key" --forward "5201=$SVC:5201" --forward "7000=$SVC:7000" \
    --forward "udp:5201=$SVC:5201" --forward "udp:7000=$SVC:7000" "$@"
  ns cl "$ZT" client wait --socket "$RUN/zt/client/control.sock" --timeout 20
  wait_tcp cl 7000
}

up_zt_relay() {
  block_direct
  zt_house
  zt_client --always-relay
}

up_zt() {
  zt_house
  zt_client
  ns cl "$ZT" client ping --socket "$RUN/zt/client/control.sock" --until-direct "$SVC:7000"
}
