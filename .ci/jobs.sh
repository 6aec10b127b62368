# The jobs of .ci/run: `bash .ci/jobs.sh JOB WORK`, in the checkout, in a user's environment. Exit code 77: skipped.
job=$1 work=$2
# .ci/run's own clone stays in $work/project, with its environment and its first table.
debian=$work/debian
# A folder with a name as users have, belonging to an ordinary user: in the Debian, or else on this machine.
odd="my modèle" of_debian=$debian/srv/user of_machine=$work/user

skip() {
    echo "skipped: $*" >&2
    exit 77
}

fresh_clone() {  # FOLDER: this commit, as a user gets it
    rm -rf "$1"
    git clone --quiet --local "$PWD" "$1"
}

# The demo cut to a few of its eight variants: every step runs. Each Python has a toolkit of its own, which builds both
# heads; another user or another system is no reason for a second one.
cut_demo=(snakemake --cores all --configfile config/demo.yaml --config "layers={head: [split]}")
two_variants="sweep={imgsz: [416x256], max_images: [32]}"
one_variant="sweep={imgsz: [416x256], max_images: [32], head: [split]}"

same_rows() {  # FOLDER ROWS: check that its table, of the cut demo, has that many of the first table's rows, byte for byte
    [ "$(wc -l <"$1/results/demo/table.csv")" = $(($2 + 1)) ]
    [ -f "$work/table.csv" ] || return 0
    ! grep -vxFf "$work/table.csv" "$1/results/demo/table.csv"
}

in_debian() {  # run a command as root in the Debian
    unshare --mount bash -euc 'root=$1; shift
        mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
        export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        exec chroot "$root" "$@"' in_debian "$debian" "$@"
}

by_user() {  # PLACE LINE: run a shell line in the checkout there, as an ordinary user with umask 077
    local ordinary=() within=() place=$1
    if [ "$(id -u)" = 0 ]; then
        ordinary=(setpriv --reuid=nobody "--regid=$(id -g nobody)" --clear-groups --inh-caps=-all --bounding-set=-all)
    fi
    if [ "$place" = "$of_debian" ]; then within=(in_debian) place=${place#"$debian"}; fi
    "${within[@]}" env "HOME=$place/home" "${ordinary[@]}" bash -euc "umask 077; cd '$place/$odd'; $2"
}

for_user() {  # PLACE: a checkout for an ordinary user, in a folder with a space and a non-ASCII letter
    (umask 077 && mkdir "$1" && fresh_clone "$1/$odd")
    cp -al "$HOME" "$1/home"  # with the cache of packages
    give nobody "$1"
}

in_terminal() {  # PLACE LINE: run a line of sh in that checkout, by its user in a terminal
    by_user "$1" "script -qec $(printf %q "$2") /dev/null"
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
    cp "$work/project/results/demo/table.csv" "$work/table.csv"
}

job_python() {  # VERSION: a cut demo on that Python, in a C locale without UTF-8, without the folder of the script on the module path
    local python
    python=$(python_of "$1") || skip "there is no Python $1"
    [ ! -e "$work/project/.venv/bin/python$1" ] || skip "it is this machine's python3, of the job demo"
    fresh_clone "$work/python"
    (
        export LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONSAFEPATH=1
        make -C "$work/python" setup PYTHON="$python"
        cd "$work/python"
        PATH="$PWD/.venv/bin:$PATH" "${cut_demo[@]}" "$two_variants"
    )
    same_rows "$work/python" 2
    rm -rf "$work/python"
}

run_by_user() {  # PLACE: a checkout there, and in it the cut demo by an ordinary user in a terminal
    for_user "$1"
    in_terminal "$1" "make setup && PATH=\"\$PWD/.venv/bin:\$PATH\" ${cut_demo[*]@Q} ${one_variant@Q}"
    same_rows "$1/$odd" 1
}

job_bare_debian() {  # a Debian with only the packages of the README's apt line; its ordinary user runs the cut demo
    local apt path
    command -v debootstrap >/dev/null || skip "there is no debootstrap"
    [ "$(id -u)" = 0 ] || skip "debootstrap needs root"
    unshare --mount true || skip "mounts are not allowed here"
    debootstrap --variant=minbase bookworm "$debian" >"$work/debootstrap.log" 2>&1 || {
        tail -n 3 "$work/debootstrap.log"
        skip "debootstrap could not make a Debian"
    }
    apt=$(grep -m1 -o 'apt-get install .*' README.md)
    cp -L /etc/resolv.conf /etc/hosts "$debian/etc/"
    in_debian apt-get update -q
    in_debian env DEBIAN_FRONTEND=noninteractive $apt -qy
    # How this machine reaches its index: certificates and machine-wide settings; those in HOME are copied with it.
    for path in /etc/pip.conf /etc/xdg/pip /etc/uv /etc/ssl/certs/ca-certificates.crt "${SSL_CERT_FILE-}" "${PIP_CERT-}"; do
        if [ -e "$path" ]; then mkdir -p "$debian${path%/*}" && cp -rL "$path" "$debian${path%/*}"; fi
    done
    run_by_user "$of_debian"
}

job_user() {  # an ordinary user on this machine, if there is no Debian with one
    [ ! -f "$of_debian/$odd/results/demo/table.csv" ] || skip "the demo of bare_debian is that of an ordinary user"
    run_by_user "$of_machine"
}

job_closed_stdout() {  # the same user's checkout, read-only; the run is elsewhere and its standard output closed
    local place
    for place in "$of_debian" "$of_machine"; do
        if [ -f "$place/$odd/results/demo/table.csv" ]; then break; fi
    done
    [ -d "$place" ] || { for_user "$place" && by_user "$place" 'make setup'; }
    chmod -R a-w "$place/$odd"
    by_user "$place" "mkdir ../elsewhere; PATH=\"\$PWD/.venv/bin:\$PATH\"
        exec ${cut_demo[*]@Q} ${one_variant@Q} --directory ../elsewhere >&-"
    same_rows "$place/elsewhere" 1
    chmod -R u+w "$place/$odd"
    rm -rf "$debian" "$of_machine"
}

job_light() {  # convert an exported model without torch and Ultralytics; outputs and verdict of the .rknn must be the same
    [ -d "$work/project/results/demo" ] || job_demo
    local demo=$work/project/results/demo few=$work/few run
    mkdir "$few" "$few/images" "$few/labels"
    cp "$demo"/dataset/images/0000[0-3]?.jpg "$few/images"
    cp "$demo"/dataset/labels/0000[0-3]?.txt "$few/labels"
    fresh_clone "$work/light"
    make -C "$work/light" setup LIGHT=1
    du -sh "$work/light/.venv"
    for run in light project; do
        (
            cd "$work/$run"
            .venv/bin/python scripts/onnx_to_rknn.py "$demo/onnx/parts4/320/exported.onnx" --dataset "$few/images" \
                --labels "$few/labels" --max-images 16 -o model.rknn 2>&1 | tee "$work/$run.txt"
        )
    done
    # The .rknn contains a time stamp; its size may differ by a few bytes.
    diff <(grep -v ^made "$work/light.txt") <(grep -v ^made "$work/project.txt")
    grep -q ^mAP50-95 "$work/light.txt"
    rm -rf "$work/light"
}

job_docs() {
    fresh_clone "$work/docs"
    make -C "$work/docs" docs
    rm -rf "$work/docs"
}

job_tests() {  # the README's second command, in the folder of the demo
    [ -d "$work/project" ] || fresh_clone "$work/project"
    # Local copies of downloads, and the packages that .ci/tools installed here.
    if [ -d ../shared ]; then ln -sfn "$(realpath ../shared)" "$work/shared"; fi
    if [ -d node_modules ]; then cp -r node_modules "$work/project/"; fi
    make -C "$work/project" slurm || echo "the Slurm plugin could not be installed; its test will skip" >&2
    make -C "$work/project" test
}

case $job in
python3.*) job_python "${job#python}" ;;
*) "job_$job" ;;
esac
