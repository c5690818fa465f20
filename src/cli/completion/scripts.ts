/**
 * The scripts of `tapir completion`. They know no command: at each Tab they ask the program that is being completed,
 * `tapir __complete INDEX -- WORD…`, and so never fall behind it.
 */

const BASH = `# bash completion for tapir: source <(tapir completion bash)
_tapir() {
  local current=\${COMP_WORDS[COMP_CWORD]} answer line
  COMPREPLY=()
  answer=$("\${COMP_WORDS[0]}" __complete "$COMP_CWORD" -- "\${COMP_WORDS[@]}" 2>/dev/null) || return
  [[ $current == "=" ]] && current=
  if [[ $answer == :files ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  while IFS= read -r line; do
    [[ -n $line ]] && COMPREPLY+=("\${line%%$'\\t'*}")
  done <<< "$answer"
}
complete -F _tapir tapir
`;

const ZSH = `#compdef tapir
# zsh completion for tapir: source <(tapir completion zsh), or as _tapir in a folder of $fpath
_tapir() {
  local answer line word
  local -a described
  answer=$("\${words[1]}" __complete $((CURRENT - 1)) -- "\${words[@]}" 2>/dev/null) || return 1
  if [[ $answer == :files ]]; then
    _files
    return
  fi
  for line in "\${(@f)answer}"; do
    [[ -n $line ]] || continue
    word=\${line%%$'\\t'*}
    described+=("\${word//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe tapir described
}
if [[ \${funcstack[1]} == _tapir ]]; then
  _tapir "$@"
else
  compdef _tapir tapir
fi
`;

export const SCRIPTS = { bash: BASH, zsh: ZSH } as const;
export type Shell = keyof typeof SCRIPTS;
