# Sourced by findings that need a real broker: one node of Apache Kafka 4.1.1 in KRaft mode, on free ports of 127.0.0.1.
# Needs Java 17 and Maven. `start_kafka FOLDER` sets KAFKA (host:port) and KAFKA_PID; the caller's trap kills KAFKA_PID.

start_kafka() {
    local at=$1 client controller
    mkdir -p "$at"
    cat >"$at/pom.xml" <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>findings</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.1</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
EOF
    mvn -q -B -f "$at/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$at/jars"
    read -r client controller < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))')
    cat >"$at/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$client,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$client
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$at/log
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
EOF
    local java=(java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$at/jars/*")
    "${java[@]}" kafka.tools.StorageTool format -t findings-cluster-00000 -c "$at/server.properties" >"$at/format.txt" 2>&1 ||
        { cat "$at/format.txt"; return 1; }
    "${java[@]}" kafka.Kafka "$at/server.properties" >"$at/broker.txt" 2>&1 &
    KAFKA_PID=$!
    disown "$KAFKA_PID"
    KAFKA=127.0.0.1:$client
    for _ in $(seq 120); do
        (exec 3<>"/dev/tcp/127.0.0.1/$client") 2>/dev/null && return 0
        kill -0 "$KAFKA_PID" 2>/dev/null || break
        sleep 0.5
    done
    tail -5 "$at/broker.txt"
    return 1
}
