# For the job scripts in this folder: run a command, and requeue the job if it is stopped early.
#
# Slurm sends SIGUSR1 before the time limit (#SBATCH --signal=B:USR1@SECONDS) and SIGTERM before a
# preemption. Both are passed on as SIGTERM: a fit saves its state, and a simulation continues from
# its last complete frame. The requeued job repeats the same command, which then continues.
run_and_requeue() {
    local stopped="" code=0
    "$@" &
    local command=$!
    trap 'stopped=yes; kill -TERM "$command" 2>/dev/null' USR1 TERM
    wait "$command" || code=$?
    # A trapped signal ends `wait` early; the command may still be saving.
    while kill -0 "$command" 2>/dev/null; do
        code=0
        wait "$command" || code=$?
    done
    trap - USR1 TERM
    if [ -n "$stopped" ] && [ "$code" -ne 0 ]; then
        echo "stopped before its end, so the job is requeued" >&2
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$code"
}
