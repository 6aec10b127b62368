# The jobs of .ci/run: `bash .ci/jobs.sh JOB WORK`, in the checkout, in a user's environment. Exit code 77: skipped.
job=$1 work=$2
# A folder name as users have them. .ci/run's own clone stays in $work/project, with its environment and its first table.
odd="$work/user/my modèle"

skip() {
    echo "skipped: $*" >&2
    exit 77
}

fresh_clone() {  # FOLDER: this commit, as a user gets it
    rm -rf "$1"
    git clone --quiet --local "$PWD" "$1"
}

same_table() {  # FOLDER: its table is the first one's, to the byte
    [ -f "$work/table.csv" ] || cp "$1/results/demo/table.csv" "$work/table.csv"
    cmp "$work/table.csv" "$1/results/demo/table.csv"
}

as_user() {  # run a command as an ordinary user who owns HOME
    if [ "$(id -u)" != 0 ]; then "$@"; else
        setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups --inh-caps=-all --bounding-set=-all "$@"
    fi
}

give() {  # USER FOLDER …
    if [ "$(id -u)" = 0 ]; then chown -R "$@"; fi
}

python_of() {  # VERSION: its path, on the PATH or among pyenv's
    local home candidate
    home=$(getent passwd "$(id -u)" | cut -d: -f6)
    for candidate in "$(command -v "python$1")" "$home/.pyenv/versions/$1".*/bin/python; do
        if "$candidate" -c '' 2>/dev/null; then echo "$candidate" && return; fi
    done
    return 1
}

job_tools() { .ci/tools; }

job_demo() {  # the README's first command on this machine's python3
    fresh_clone "$work/project"
    make -C "$work/project" demo
    same_table "$work/project"
}

job_python() {  # VERSION: the demo on that Python, in a C locale without UTF-8, no folder of the script on the module path
    local python
    python=$(python_of "$1") || skip "there is no Python $1"
    [ ! -e "$work/project/.venv/bin/python$1" ] || skip "it is this machine's python3, of the job demo"
    fresh_clone "$work/python"
    LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONSAFEPATH=1 make -C "$work/python" demo PYTHON="$python"
    same_table "$work/python"
    rm -rf "$work/python"
}

job_user() {  # an ordinary user in a terminal, umask 077, in a folder with a space and a letter that is not ASCII
    (umask 077 && fresh_clone "$odd")
    give nobody "$HOME" "$work/user"
    (umask 077 && cd "$odd" && as_user script -qec 'make demo' /dev/null)
    same_table "$odd"
}

job_closed_stdout() {  # the same user's checkout, read-only; the run is elsewhere and its standard output closed
    [ -d "$odd" ] || job_user
    chmod -R a-w "$odd"
    (
        cd "$odd"
        mkdir -m 700 "$work/elsewhere"
        give nobody "$work/elsewhere"
        PATH="$odd/.venv/bin:$PATH" as_user snakemake --cores all --directory "$work/elsewhere" \
            --configfile config/demo.yaml >&-
    )
    same_table "$work/elsewhere"
    chmod -R u+w "$odd"
    rm -rf "$work/user" "$work/elsewhere"
    give root "$HOME"
}

job_bare_debian() {  # a Debian with no more than the README's line of apt
    local root=$work/debian apt
    command -v debootstrap >/dev/null || skip "there is no debootstrap"
    [ "$(id -u)" = 0 ] || skip "debootstrap needs root"
    unshare --mount true || skip "mounts are not allowed here"
    debootstrap --variant=minbase bookworm "$root" >"$work/debootstrap.log" 2>&1 || {
        tail -n 3 "$work/debootstrap.log"
        skip "debootstrap could not make a Debian"
    }
    apt=$(grep -m1 -o 'apt-get install .*' README.md)
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    in_debian() {
        unshare --mount bash -euc 'root=$1; shift
            mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
            export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
            exec chroot "$root" "$@"' in_debian "$root" "$@"
    }
    in_debian apt-get update -q
    in_debian env DEBIAN_FRONTEND=noninteractive $apt -qy
    # How this machine reaches its index: certificates, settings of the whole machine and of HOME. HOME has the packages too.
    local path
    for path in /etc/pip.conf /etc/xdg/pip /etc/uv /etc/ssl/certs/ca-certificates.crt "${SSL_CERT_FILE-}" "${PIP_CERT-}"; do
        if [ -e "$path" ]; then mkdir -p "$root${path%/*}" && cp -rL "$path" "$root${path%/*}"; fi
    done
    rm -rf "$root/root"
    cp -al "$HOME" "$root/root"
    fresh_clone "$root/srv/project"
    in_debian make -C /srv/project demo
    same_table "$root/srv/project"
    rm -rf "$root"
}

job_light() {  # an exported model in an environment without torch and Ultralytics: the same .rknn's outputs and verdict
    [ -d "$work/project/results/demo" ] || job_demo
    local model=results/demo/onnx/parts4/320/exported.onnx run
    fresh_clone "$work/light"
    make -C "$work/light" setup LIGHT=1
    du -sh "$work/light/.venv"
    for run in light project; do
        (
            cd "$work/$run"
            .venv/bin/python scripts/onnx_to_rknn.py "$work/project/$model" --dataset "$work/project/results/demo/dataset/images" \
                --labels "$work/project/results/demo/dataset/labels" --max-images 16 -o model.rknn 2>&1 |
                tee "$work/$run.txt"
        )
    done
    # The .rknn holds a time stamp; the size may differ by some bytes.
    diff <(grep -v ^made "$work/light.txt") <(grep -v ^made "$work/project.txt")
    grep -q ^mAP50-95 "$work/light.txt"
    rm -rf "$work/light"
}

job_docs() {
    fresh_clone "$work/docs"
    make -C "$work/docs" docs
    rm -rf "$work/docs"
}

job_tests() {  # the README's second command, where the demo was
    [ -d "$work/project" ] || fresh_clone "$work/project"
    # Local copies of downloads, and what .ci/tools put here.
    if [ -d ../shared ]; then ln -sfn "$(realpath ../shared)" "$work/shared"; fi
    if [ -d node_modules ]; then cp -r node_modules "$work/project/"; fi
    make -C "$work/project" slurm || echo "the Slurm plugin could not be installed; its test will skip" >&2
    make -C "$work/project" test
}

case $job in
python3.*) job_python "${job#python}" ;;
*) "job_$job" ;;
esac
