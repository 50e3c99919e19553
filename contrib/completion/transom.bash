# Bash completion of transom: source this file, or install it as /usr/share/bash-completion/completions/transom.
_transom() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
    local verbs="serve check routes explain api-key demo reference version" options="--help"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$verbs --help --version" -- "$cur")
        return
    fi
    case $prev in
    -c | --config | --tls-certificate | --tls-key)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    -p | --port | -d | --data | -H | --header) return ;;
    esac
    case $verb in
    serve | check) options="--config $options" ;;
    api-key) options="new --consumer --tier --scope --help" ;;
    routes) options="--config --json $options" ;;
    explain) options="--config --header --data $options" ;;
    demo) options="--port --tls-certificate --tls-key $options" ;;
    reference) options="config schema errors $options" ;;
    esac
    if [ "$verb" = explain ] && [[ $cur != -* ]]; then
        options="GET POST PUT PATCH DELETE HEAD OPTIONS"
    fi
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
}
complete -F _transom transom
