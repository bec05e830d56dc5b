#!/bin/bash
# preStop hook that Spark gives its executors when spark.decommission.enabled is set: ask the executor to move its blocks
# away, and return when it has ended by itself. The pod's grace period bounds the wait, not this script.
set -u

executor() {
    local file
    for file in /proc/[0-9]*/cmdline; do
        if tr '\0' ' ' <"$file" 2>/dev/null | grep -q 'java .*KubernetesExecutorBackend'; then
            file=${file#/proc/}
            echo "${file%/cmdline}"
            return
        fi
    done
}

pid=$(executor)
[ -n "$pid" ] || exit 0
echo "decommissioning executor process $pid"
kill -PWR "$pid" || exit 0
while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
