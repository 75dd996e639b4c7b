'use strict';
/**
 * A page of docs/ as a manual page (roff with the man macros): headings, paragraphs, lists, tables, examples. Only what these
 * pages use is understood. A table becomes a list of its first column with the rest of each row below it.
 */

const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];

/** Text that roff takes for what it is. */
function plain(text) {
  return text.replace(/\\/g, '\\e').replace(/-/g, '\\-').replace(/[“”]/g, '"').replace(/^([.'])/gm, '\\&$1');
}

/** `code` and **bold** become bold; of a link, its text. */
function inline(markdown) {
  const parts = markdown
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/<(https?:[^>]*)>/g, '$1')
    .split(/(`[^`]*`|\*\*[^*]+\*\*)/);
  const text = parts
    .map((part) => {
      if (/^`.*`$/s.test(part)) return `\\fB${plain(part.slice(1, -1))}\\fR`;
      if (/^\*\*.*\*\*$/s.test(part)) return `\\fB${plain(part.slice(2, -2))}\\fR`;
      return plain(part.replace(/(^|[\s(])\*([^*\s][^*]*)\*/g, '$1$2').replace(/\\([|*_])/g, '$1'));
    })
    .join('');
  return text.replace(/^([.'])/gm, '\\&$1');
}

/** The cells of a table's line; `\|` is a bar that belongs to a cell. */
function cells(line) {
  return line
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replace(/\\\|/g, '|'));
}

function table(lines) {
  const [head = [], , ...rows] = lines.map(cells);
  return rows.flatMap(([first = '', ...rest]) => {
    const said = rest.map((cell, at) => (cell === '' ? '' : at < rest.length - 1 && head[at + 1] ? `${head[at + 1]}: ${cell}.` : cell)).filter((cell) => cell !== '');
    return ['.TP', inline(first) || '\\ ', inline(said.join(' ')) || '\\ '];
  });
}

/** Lines of roff for the lines of a page after its title. */
function body(lines) {
  const out = [];
  let paragraph = [];
  const flush = () => {
    if (paragraph.length > 0) out.push('.PP', inline(paragraph.join('\n')));
    paragraph = [];
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    if (/^```/.test(line)) {
      flush();
      const end = lines.indexOf('```', at + 1);
      out.push('.PP', '.RS 4', '.nf', ...lines.slice(at + 1, end).map((one) => plain(one) || '\\ '), '.fi', '.RE');
      at = end;
    } else if (/^##+ /.test(line)) {
      flush();
      const [, marks, title] = /^(#+) (.*)$/.exec(line);
      out.push(marks.length === 2 ? `.SH "${inline(title).replace(/"/g, '""').toUpperCase().replace(/\\F([BR])/g, '\\f$1')}"` : `.SS "${inline(title).replace(/"/g, '""')}"`);
    } else if (/^\|/.test(line)) {
      flush();
      let end = at;
      while (/^\|/.test(lines[end] ?? '')) end++;
      out.push('.PP', ...table(lines.slice(at, end)));
      at = end - 1;
    } else if (/^(- |\d+\. )/.test(line)) {
      flush();
      const [, mark, text] = /^(-|\d+\.) +(.*)$/.exec(line);
      const item = [text];
      while (/^ {2,}\S/.test(lines[at + 1] ?? '')) item.push(lines[++at].trim());
      out.push(mark === '-' ? '.IP \\(bu 2' : `.IP ${mark} 4`, inline(item.join('\n')));
    } else if (/^    \S/.test(line)) {
      flush();
      out.push('.PP', '.nf', plain(line), '.fi');
    } else if (line.trim() === '') {
      flush();
    } else {
      paragraph.push(line.trim());
    }
  }
  flush();
  return out;
}

/** `seconds`: the date that the page shows. `also`: other pages, as `name(section)`. */
function manPage({ text, name, section, about, also, version, seconds }) {
  const date = new Date(seconds * 1000);
  const lines = text.split('\n').filter((line, at) => !(at === 0 && /^# /.test(line)));
  return [
    `.TH "${name.toUpperCase()}" "${section}" "${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}" "mesos\\-cvmfs ${plain(version)}"`,
    '.ad l',
    '.nh',
    '.SH "NAME"',
    `${plain(name)} \\- ${plain(about)}`,
    ...(section === 1 ? ['.SH "SYNOPSIS"', `\\fB${plain(name)}\\fR \\fIcommand\\fR [\\fIargument\\fR|\\fIoption\\fR]...`] : []),
    '.SH "DESCRIPTION"',
    ...body(lines),
    '.SH "SEE ALSO"',
    also.map((one) => `\\fB${plain(one.replace(/\(.*/, ''))}\\fR${/\(.*/.exec(one)[0]}`).join(', '),
    '',
  ].join('\n');
}

module.exports = { manPage };
