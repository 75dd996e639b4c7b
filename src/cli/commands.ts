/**
 * Every command with its options: what `--help` prints, what docs/commands.md describes, and which file of commands/ is
 * loaded when it is run. Nothing else is loaded, so that a light command starts as fast as Node does.
 */

/** What a command does with its arguments and options; `--config`, `--run-dir` and `--json` are among the options. */
export type Action = (args: readonly unknown[], options: Record<string, unknown>) => Promise<void>;

export interface OptionSpec {
  readonly flags: string;
  readonly about: string;
  /** May be given more than once; the values become a list. */
  readonly repeat?: boolean;
  readonly mandatory?: boolean;
}

export interface CommandSpec {
  /** Words and arguments, as commander writes them: `image pin [image]`. */
  readonly usage: string;
  readonly about: string;
  readonly options?: readonly OptionSpec[];
  readonly example?: string;
  /** Absent: the name is taken, and a later release brings the command. */
  readonly load?: () => Promise<Action>;
}

/** Taken by every command, before or after its name. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { flags: '--config <file>', about: 'configuration file (default /etc/mesos-cvmfs/config.toml)' },
  { flags: '--run-dir <dir>', about: 'directory of sockets and mount records (run_dir)' },
  { flags: '--json', about: 'print one JSON document; errors too, on standard error' },
];

export const GROUPS: Readonly<Record<string, string>> = {
  image: 'images in the repositories',
  'image profile': 'what containers of an image open first',
  cache: 'the cache of objects on this host',
  repo: 'repositories of your own',
  config: 'the configuration',
  agent: 'the Mesos agent',
  marathon: 'Marathon apps',
};

const STORAGE: OptionSpec = { flags: '--storage <dir>', about: "the repository's folder, what a web server publishes as …/<fqrn>", mandatory: true };
const KEYS: OptionSpec = { flags: '--keys <dir>', about: 'folder of <fqrn>.masterkey, .pub, .key and .crt', mandatory: true };
const FACADE: OptionSpec = { flags: '--facade <host:port>', about: "where agents reach their facade (default 127.0.0.1:61080)" };
const MODE: OptionSpec = { flags: '--mode <mode>', about: 'facade, module or patched (default: what the configuration enables)' };
const CACHE_DIR: OptionSpec = { flags: '--cache-dir <dir>', about: 'directory of the cache (cache.dir)' };

export const COMMANDS: readonly CommandSpec[] = [
  {
    usage: 'serve',
    about: 'run the service: resolve, provision, remember; stopping it unmounts nothing',
    example: 'mesos-cvmfs serve --config /etc/mesos-cvmfs/config.toml',
    load: async () => (await import('./commands/serve')).serve,
  },
  {
    usage: 'keeper',
    about: 'keep the mounts of a run_dir (started by itself when it is needed)',
    load: async () => (await import('./commands/keeper')).keeper,
  },
  {
    usage: 'mount <fqrn> <dir>',
    about: 'mount a repository; works without the service and returns when the tree is usable',
    options: [
      { flags: '--server <url>', about: 'base URL of a server; repeat for more', repeat: true },
      { flags: '--proxy <groups>', about: 'proxy groups, as in CVMFS_HTTP_PROXY (default DIRECT)' },
      { flags: '--public-key <file>', about: 'master public key of the repository; repeat for more', repeat: true },
      CACHE_DIR,
      { flags: '--tag <name>', about: 'mount the revision with this tag, and stay on it' },
      { flags: '--root-hash <hash>', about: 'mount this root catalog, and stay on it' },
      { flags: '-o <CVMFS_X=Y>', about: 'set a parameter; repeat for more', repeat: true },
      { flags: '--foreground', about: 'stay until the mount is gone or a signal comes, then unmount' },
    ],
    example: 'mesos-cvmfs mount images.example.org /cvmfs/images.example.org --server http://s1.example.org/cvmfs/@fqrn@ --public-key images.example.org.pub',
    load: async () => (await import('./commands/mount')).mount,
  },
  {
    usage: 'umount <dir>',
    about: 'unmount a repository',
    options: [{ flags: '--lazy', about: 'take it out of the tree at once, and end it when its last user goes' }],
    example: 'mesos-cvmfs umount /cvmfs/images.example.org',
    load: async () => (await import('./commands/umount')).umount,
  },
  {
    usage: 'resolve <image>',
    about: 'find the directory that an image name stands for now; <image> is debian:12, ghcr.io/org/app@sha256:… or cvmfs://<fqrn>/<path>',
    example: 'mesos-cvmfs resolve debian:12',
    load: async () => (await import('./commands/resolve')).resolve,
  },
  {
    usage: 'provision <image>',
    about: 'make a root file system from an image; prints its path',
    options: [
      { flags: '--container <id>', about: 'whom it is for; a nested container is written parent/child', mandatory: true },
      { flags: '--backend <name>', about: 'overlay (writable) or bind (read-only); default provisioner.backend' },
      { flags: '--key <text>', about: 'idempotency key: a repeated call with it returns the first one’s result' },
    ],
    example: 'mesos-cvmfs provision debian:12 --container web-1',
    load: async () => (await import('./commands/provision')).provision,
  },
  {
    usage: 'destroy <id>',
    about: 'remove all root file systems of a container and of those nested in it',
    example: 'mesos-cvmfs destroy web-1',
    load: async () => (await import('./commands/destroy')).destroy,
  },
  {
    usage: 'recover [id...]',
    about: 'say which containers live: theirs are kept and verified, all others are destroyed',
    options: [{ flags: '--none', about: 'no container lives: destroy all of them' }],
    example: 'mesos-cvmfs recover web-1 web-1/debug',
    load: async () => (await import('./commands/recover')).recover,
  },
  {
    usage: 'ps',
    about: 'show containers with their root file systems, what recovery set aside, and pinned images',
    load: async () => (await import('./commands/ps')).ps,
  },
  {
    usage: 'status',
    about: 'show mounts, service and warnings',
    load: async () => (await import('./commands/status')).status,
  },
  {
    usage: 'image inspect <image>',
    about: 'show what an image is resolved to, how it is run, and how much of it is in the cache',
    example: 'mesos-cvmfs image inspect debian:12',
    load: async () => (await import('./commands/image')).inspect,
  },
  {
    usage: 'image prefetch <image>',
    about: 'fetch all of an image into the cache, which may drop it again',
    example: 'mesos-cvmfs image prefetch debian:12',
    load: async () => (await import('./commands/image')).prefetch,
  },
  {
    usage: 'image pin [image]',
    about: 'fetch all of an image and keep it in the cache; the service remembers it',
    options: [
      { flags: '--list', about: 'show the pinned images' },
      { flags: '--remove', about: 'let the cache drop it again; <image> may be its digest' },
    ],
    example: 'mesos-cvmfs image pin debian:12',
    load: async () => (await import('./commands/image')).pin,
  },
  {
    usage: 'image profile show <image>',
    about: 'show what is known of what containers of an image open first',
    example: 'mesos-cvmfs image profile show debian:12',
    load: async () => (await import('./commands/image-profile')).show,
  },
  {
    usage: 'image profile export <image>',
    about: 'write the start profile of an image for another host, or to publish it beside the image',
    options: [{ flags: '--out <file>', about: 'into this file; default standard output' }],
    example: 'mesos-cvmfs image profile export debian:12 --out debian-12.json',
    load: async () => (await import('./commands/image-profile')).exportProfile,
  },
  {
    usage: 'image profile import <image> <file>',
    about: 'use a start profile that another host has exported',
    example: 'mesos-cvmfs image profile import debian:12 debian-12.json',
    load: async () => (await import('./commands/image-profile')).importProfile,
  },
  {
    usage: 'image profile remove <image>',
    about: 'forget the start profile of an image; the next container is recorded anew',
    example: 'mesos-cvmfs image profile remove debian:12',
    load: async () => (await import('./commands/image-profile')).remove,
  },
  { usage: 'image ls', about: 'list images' },
  {
    usage: 'cache usage',
    about: 'show how full the cache is and who keeps what',
    options: [CACHE_DIR],
    load: async () => (await import('./commands/cache')).usage,
  },
  {
    usage: 'cache check',
    about: 'read every object of the cache and compare it with its record',
    options: [CACHE_DIR, { flags: '--repair', about: 'remove or correct what is wrong' }],
    example: 'mesos-cvmfs cache check --repair',
    load: async () => (await import('./commands/cache')).check,
  },
  {
    usage: 'cache wipe',
    about: 'empty the cache, but for what is pinned or used where no server could fetch it again',
    options: [CACHE_DIR, { flags: '--force', about: 'everything: what running containers use is fetched again' }],
    load: async () => (await import('./commands/cache')).wipe,
  },
  {
    usage: 'repo create <fqrn>',
    about: 'make a repository: keys, whitelist, and revision 1, which is empty',
    options: [
      { ...STORAGE, about: 'folder for the repository, made when it is absent' },
      { ...KEYS, about: 'folder for the keys <fqrn>.masterkey, .pub, .key and .crt, made with mode 0700' },
      { flags: '--hash <algorithm>', about: 'sha1 (default), rmd160 or shake128' },
      { flags: '--ttl <duration>', about: 'how long clients may go on with a revision without asking (default 4m)' },
    ],
    example: 'mesos-cvmfs repo create images.example.org --storage /srv/cvmfs/images.example.org --keys /etc/cvmfs/keys/images',
    load: async () => (await import('./commands/repo')).create,
  },
  {
    usage: 'repo serve <fqrn>',
    about: 'serve a repository over HTTP, as a stratum 0 web server does, until a signal comes',
    options: [
      STORAGE,
      { flags: '--listen <host:port>', about: 'address (default 127.0.0.1:0, a free port)' },
      { flags: '--access-log <file>', about: 'append one line per request to this file' },
    ],
    example: 'mesos-cvmfs repo serve images.example.org --storage /srv/cvmfs/images.example.org --listen 127.0.0.1:8000',
    load: async () => (await import('./commands/repo')).serve,
  },
  {
    usage: 'repo check <fqrn>',
    about: 'check a repository to the last object: signatures, catalogs, counters, contents',
    options: [
      STORAGE,
      { flags: '--keys <dir>', about: 'folder of <fqrn>.pub' },
      { flags: '--public-key <file>', about: 'master public key; repeat for more', repeat: true },
      { flags: '--no-tags', about: 'only the newest revision, not those that tags name' },
      { flags: '--no-content', about: 'only look whether objects are there, without reading them' },
    ],
    example: 'mesos-cvmfs repo check images.example.org --storage /srv/cvmfs/images.example.org --keys /etc/cvmfs/keys/images',
    load: async () => (await import('./commands/repo')).check,
  },
  { usage: 'repo ls', about: 'list the revisions of a repository' },
  { usage: 'repo tag', about: 'name revisions' },
  { usage: 'repo diff', about: 'compare two revisions' },
  { usage: 'repo rollback', about: 'go back to a revision' },
  { usage: 'repo gc', about: 'remove what no revision needs' },
  {
    usage: 'publish <source> <fqrn>',
    about: 'make a subtree of a repository equal to a source, deletions included, in one new revision; <source> is dir:PATH or tar:PATH',
    options: [
      STORAGE,
      KEYS,
      { flags: '--to <path>', about: 'where in the repository (default /); other bytes than UTF-8, blanks and % as %XX' },
      { flags: '--tag <name>', about: 'name the revision' },
      { flags: '--message <text>', about: 'describe the tag' },
      { flags: '--compression <kind>', about: 'zlib (default) or none' },
      { flags: '--no-xattrs', about: 'leave extended attributes out' },
      { flags: '--mtime-ns', about: 'record nanoseconds of times' },
      { flags: '--profile <file>', about: 'put this start profile beside the image, in a second revision' },
      { flags: '--plan', about: 'only say what would change' },
    ],
    example: 'mesos-cvmfs publish dir:/srv/rootfs images.example.org --storage /srv/cvmfs/images.example.org --keys /etc/cvmfs/keys/images --to /apps/web',
    load: async () => (await import('./commands/publish')).publish,
  },
  {
    usage: 'config dump',
    about: 'show every value in force and where it comes from',
    load: async () => (await import('./commands/config-dump')).configDump,
  },
  {
    usage: 'doctor',
    about: 'say what is wrong with this host and its configuration, with the cure',
    load: async () => (await import('./commands/doctor')).doctor,
  },
  {
    usage: 'upgrade',
    about: 'replace the servers of all mounts, the spare and the keeper by those of this version, while they are read',
    options: [
      { flags: '--check', about: 'only say what would be done' },
      { flags: '--timeout <duration>', about: 'how long a process of this version may take to come up (default 60s)' },
    ],
    example: 'mesos-cvmfs upgrade',
    load: async () => (await import('./commands/upgrade')).upgrade,
  },
  {
    usage: 'agent flags',
    about: 'print what a Mesos agent of this host is to be started with, from the configuration',
    options: [
      MODE,
      { flags: '--format <form>', about: 'env (default: lines for EnvironmentFile=), flags (a command line), dcos (a drop-in), modules (manifest of the isolator module)' },
      { flags: '--isolation <list>', about: 'the isolators that the agent has; what is missing is added' },
      { flags: '--plain-names', about: 'have image names without a registry asked of the facade' },
    ],
    example: 'mesos-cvmfs agent flags',
    load: async () => (await import('./commands/agent')).flags,
  },
  {
    usage: 'agent check',
    about: 'ask a running Mesos agent, and say what would not work with it',
    options: [
      { flags: '--agent <url>', about: 'its address (default http://127.0.0.1:5051)' },
      MODE,
      { flags: '--pid <pid>', about: 'its process (default: whoever listens there)' },
      { flags: '--user <name>', about: 'user name, where the agent wants one' },
      { flags: '--password-file <file>', about: 'file with the password of --user' },
    ],
    example: 'mesos-cvmfs agent check',
    load: async () => (await import('./commands/agent')).check,
  },
  {
    usage: 'marathon translate <file>',
    about: 'print an app, a pod, a group or a list of apps as stock Marathon takes it; - is standard input',
    options: [
      { flags: '--back', about: 'print the original of what was translated, also after Marathon has answered it' },
      FACADE,
      { flags: '--out <file>', about: 'into this file; default standard output' },
    ],
    example: 'mesos-cvmfs marathon translate app.json',
    load: async () => (await import('./commands/marathon')).translate,
  },
  {
    usage: 'marathon validate <file...>',
    about: 'check definitions strictly: every problem with its line and column',
    options: [FACADE],
    example: 'mesos-cvmfs marathon validate app.json',
    load: async () => (await import('./commands/marathon')).validate,
  },
  {
    usage: 'marathon deploy <file>',
    about: 'translate a definition, send it to a Marathon, and wait until it is healthy',
    options: [
      { flags: '--url <url>', about: 'base URL of Marathon', mandatory: true },
      FACADE,
      { flags: '--user <name>', about: 'user name of Basic authentication' },
      { flags: '--password-file <file>', about: 'file with the password of --user' },
      { flags: '--token-file <file>', about: 'file with a token, sent as DC/OS wants it' },
      { flags: '--bearer', about: 'send the token as a Bearer token' },
      { flags: '--ca-file <file>', about: 'certificates to trust, PEM' },
      { flags: '--force', about: 'stop a deployment that is in the way' },
      { flags: '--no-wait', about: 'end when Marathon has taken it' },
      { flags: '--timeout <duration>', about: 'give up waiting after this time (default 10m)' },
      { flags: '--max-failures <number>', about: 'give up waiting when so many tasks have failed (default 3)' },
    ],
    example: 'mesos-cvmfs marathon deploy app.json --url http://marathon.example.org:8080',
    load: async () => (await import('./commands/marathon')).deploy,
  },
];
