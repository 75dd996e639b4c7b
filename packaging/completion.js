'use strict';
/** Completion for bash and zsh, from the table of commands that `--help` is made of (src/cli/commands.ts). */

/** `image pin [image]` → words `image pin`, and whether arguments follow. */
function wordsOf(usage) {
  return usage.split(' ').filter((word) => !/^[<[]/.test(word));
}

/** `--public-key <file>` → `{flag: '--public-key', value: 'file'}`; `value` is what the placeholder says, or undefined. */
function optionOf({ flags, about }) {
  const [, flag, value] = /^(\S+)(?: <([^>]*)>)?/.exec(flags);
  return { flag, value, about };
}

/** Every place of the tree of words: `''` is the program itself. `{children: Map word → about, options}`. */
function placesOf({ commands, groups }) {
  const places = new Map();
  const place = (name) => {
    if (!places.has(name)) places.set(name, { children: new Map(), options: [], arguments: '' });
    return places.get(name);
  };
  place('');
  for (const { usage, about, options = [] } of commands) {
    const words = wordsOf(usage);
    for (let depth = 0; depth < words.length; depth++) {
      const below = words.slice(0, depth + 1).join(' ');
      place(words.slice(0, depth).join(' ')).children.set(words[depth], depth === words.length - 1 ? about : (groups[below] ?? ''));
      place(below);
    }
    Object.assign(place(words.join(' ')), { options: options.map(optionOf), arguments: usage.replace(/^[^<[]*/, '') });
  }
  return places;
}

const FILE = /^file$/;
const DIRECTORY = /^dir$/;
const takesPaths = (usage) => /<(dir|file|source)>|json/.test(usage);
const quoted = (text) => `'${text.replace(/'/g, `'\\''`)}'`;

function bashCompletion(table) {
  const places = placesOf(table);
  const globals = table.globals.map(optionOf);
  const options = [...globals, ...[...places.values()].flatMap((place) => place.options)];
  const flags = (wanted) => [...new Set(options.filter(({ value }) => value !== undefined && wanted(value)).map(({ flag }) => flag))].join('|');
  const branches = [...places].map(([name, place]) => {
    const offered = [...place.children.keys(), ...place.options.map(({ flag }) => flag), ...globals.map(({ flag }) => flag), '--help', ...(name === '' ? ['--version'] : [])];
    return `    ${quoted(name)}) words=${quoted(offered.join(' '))}${takesPaths(place.arguments) ? ' paths=yes' : ''} ;;`;
  });
  const known = [...places.keys()].filter((name) => name !== '').map(quoted);
  return `# bash completion of mesos-cvmfs, made from its table of commands
_mesos_cvmfs() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at='' paths='' words='' i next
  COMPREPLY=()
  case $prev in
    ${flags((value) => FILE.test(value))}) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2> /dev/null; return ;;
    ${flags((value) => DIRECTORY.test(value))}) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames 2> /dev/null; return ;;
    ${flags((value) => !FILE.test(value) && !DIRECTORY.test(value))}) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${at:+$at }\${COMP_WORDS[i]}"
    case $next in
      ${known.join('|')}) at=$next ;;
    esac
  done
  case $at in
${branches.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  if [[ -n $paths && $cur != -* ]]; then
    mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
    compopt -o filenames 2> /dev/null
  fi
}
complete -F _mesos_cvmfs mesos-cvmfs
`;
}

/** A colon ends the word in zsh's own lists. */
const described = (word, about) => quoted(`${word.replace(/:/g, '\\:')}:${about.replace(/:/g, '\\:')}`);

function zshCompletion(table) {
  const places = placesOf(table);
  const globals = table.globals.map(optionOf);
  const all = [...globals, ...[...places.values()].flatMap((place) => place.options)];
  const flags = (wanted) => [...new Set(all.filter(({ value }) => value !== undefined && wanted(value)).map(({ flag }) => flag))].join('|');
  const branches = [...places].map(([name, place]) => {
    const words = [...place.children].map(([word, about]) => described(word, about));
    const options = [...place.options, ...globals, { flag: '--help', about: 'say what it does' }].map(({ flag, about }) => described(flag, about));
    return `    ${quoted(name)})\n      words_here=(${words.join(' ')})\n      options_here=(${options.join(' ')})\n      paths=${takesPaths(place.arguments) ? 'yes' : ''} ;;`;
  });
  const known = [...places.keys()].filter((name) => name !== '').map(quoted);
  return `#compdef mesos-cvmfs
# zsh completion of mesos-cvmfs, made from its table of commands
_mesos_cvmfs() {
  local at='' next paths='' i
  local -a words_here options_here
  case $words[CURRENT-1] in
    ${flags((value) => FILE.test(value))}) _files; return ;;
    ${flags((value) => DIRECTORY.test(value))}) _files -/; return ;;
    ${flags((value) => !FILE.test(value) && !DIRECTORY.test(value))}) _message value; return ;;
  esac
  for ((i = 2; i < CURRENT; i++)); do
    next="\${at:+$at }$words[i]"
    case $next in
      ${known.join('|')}) at=$next ;;
    esac
  done
  case $at in
${branches.join('\n')}
  esac
  (( $#words_here )) && _describe -t commands command words_here
  _describe -o -t options option options_here
  [[ -n $paths ]] && _files
  return 0
}
_mesos_cvmfs "$@"
`;
}

module.exports = { bashCompletion, zshCompletion };
