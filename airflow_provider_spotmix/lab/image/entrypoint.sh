#!/bin/bash
# First process of the lab's Spark containers. Spark on Kubernetes starts an image with "driver ..." or "executor" and
# says the rest in the environment; anything else is run as it is. Each branch ends with exec, so that Spark itself is
# process 1: it gets the signals, and its exit code is the container's.
set -eu

role=${1:-}
shift || true

case $role in
driver)
    exec "$SPARK_HOME/bin/spark-submit" \
        --deploy-mode client \
        --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
        --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
        "$@"
    ;;
executor)
    # Java options arrive as SPARK_JAVA_OPT_0, _1, ...: one option each, which may contain blanks.
    options=()
    for ((i = 0; ; i++)); do
        name=SPARK_JAVA_OPT_$i
        [ -n "${!name+set}" ] || break
        options+=("${!name}")
    done
    classpath="${SPARK_EXTRA_CLASSPATH:+$SPARK_EXTRA_CLASSPATH:}$SPARK_HOME/conf:$SPARK_HOME/jars/*"
    exec "$JAVA_HOME/bin/java" "${options[@]}" \
        "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" -cp "$classpath" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" \
        --executor-id "$SPARK_EXECUTOR_ID" \
        --cores "$SPARK_EXECUTOR_CORES" \
        --app-id "$SPARK_APPLICATION_ID" \
        --hostname "$SPARK_EXECUTOR_POD_IP" \
        --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
        --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
'')
    echo "entrypoint: give 'driver ...', 'executor' or a command" >&2
    exit 2
    ;;
*)
    exec "$role" "$@"
    ;;
esac
