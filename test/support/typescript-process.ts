/** Node's arguments for a child process whose program is TypeScript. */
import * as path from 'node:path';

export const typescriptExecArgv: readonly string[] = ['-r', path.join(__dirname, 'register-typescript.js')];
