#!/usr/bin/env bash
# Sourced by what starts servers: runs them as a user that they accept, below a FOLDER, and finds ports.

bin=/usr/lib/postgresql/15/bin

# Servers refuse to run as root: started by root, they run as the user postgres.
as_server() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    elif setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$folder"; then
        setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
    else
        # The checkout lies below a folder that only root may pass, such as /root.
        setpriv --reuid=postgres --regid=postgres --clear-groups \
            --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
    fi
}

own_folder() {
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$folder"; fi
}

is_taken() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Below the range from which the kernel gives clients theirs, since those do not show.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); is_taken "$port"; do :; done
    echo "$port"
}
