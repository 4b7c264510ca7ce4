// node check.js FUNCTION README: reads lines "ticket TAB priority TAB position TAB board" and
// tells how many positions differ from those of the function, and whether README has its text.
const fs = require('fs');
const [source, readme] = process.argv.slice(2).map((file) => fs.readFileSync(file, 'utf8'));
const positionFromBoard = new Function(source + '\nreturn positionFromBoard;')();
const boards = new Map();
let asked = 0, wrong = 0;

for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const [ticket, priority, position, text] = line.split('\t');
  if (!boards.has(text)) boards.set(text, JSON.parse(text));
  asked++;
  if (positionFromBoard(boards.get(text), Number(ticket), priority) !== Number(position)) wrong++;
}
console.log(`${asked} ${wrong} ${readme.includes('```js\n' + source + '```')}`);
