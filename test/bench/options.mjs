// The command line of the comparison.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HELP = `node test/bench/compare.mjs [options]

  --rounds N      how many rounds; the figures are medians of them (5)
  --seconds N     how long a program is measured in one turn (2)
  --only A,B      these programs alone: NAMES
  --quick         one short round with few streams, to see that all works; no picture
  --picture FILE  where the picture goes (test/bench/compare.svg, of a whole run alone)
`;

/** @param names of all programs. Prints what is wrong and ends the process. */
export function readOptions(names) {
  const help = HELP.replace("NAMES", names.join(", "));
  try {
    return toOptions(names, help);
  } catch ({ message }) {
    console.error(`${message}\n\n${help}`);
    return process.exit(2);
  }
}

function toOptions(names, help) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      seconds: { type: "string" },
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      picture: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    process.exit();
  }
  const chosen = values.only?.split(",") ?? names;
  const unknown = chosen.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`There is no program ${unknown.join(", ")}.`);
  const isWhole = !values.quick && values.only === undefined;
  return {
    chosen,
    rounds: toCount("rounds", values.rounds ?? (values.quick ? "1" : "5")),
    seconds: toCount("seconds", values.seconds ?? (values.quick ? "1" : "2")),
    quick: values.quick,
    // V8 optimises what it has seen a few ten thousand times, and again when it sees the first
    // calls that break off, as they do at the end of a turn: before that, all but the smallest are
    // slow.
    warmUpRounds: values.quick ? 1 : 4,
    picture:
      values.picture ??
      (isWhole ? fileURLToPath(new URL("compare.svg", import.meta.url)) : undefined),
  };
}

function toCount(name, text) {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) {
    throw new Error(`--${name}: expected a whole number from 1 on, got "${text}".`);
  }
  return count;
}
