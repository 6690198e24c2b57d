// Plays scenes at random, at a rate or as fast as it gets, and keeps account of every one.
import { setTimeout as sleep } from "node:timers/promises";

const TICK_MS = 10;
const CATCH_UP_MS = 100;
const DEADLINE_MS = 60_000;
/** Enough for twice what a second brings at any rate; more means that nothing comes back. */
const OPEN_LIMIT = 5_000;
const WORKERS = 96;

export class Load {
  /** By the name of a scene, how often it ended in what way. */
  ledger = new Map();
  open = 0;
  done = 0;
  /** Not begun, as too many were open. */
  held = 0;
  /** Between two looks at what is due: how far the load itself is to be trusted. */
  longestPauseMs = 0;
  #scenes;
  #clients;
  #sum;
  #going = false;
  #idle = () => {};

  constructor(scenes, clients) {
    this.#scenes = scenes;
    this.#clients = clients;
    this.#sum = scenes.reduce((sum, { weight }) => sum + weight, 0);
  }

  /** Begins so many a second, however long they take; resolves when stopped and all are over. */
  async keepUp(callsPerSecond) {
    this.#going = true;
    let due = 0;
    for (let last = performance.now(); this.#going; await sleep(TICK_MS)) {
      const pausedMs = performance.now() - last;
      last += pausedMs;
      this.longestPauseMs = Math.max(this.longestPauseMs, pausedMs);
      // Whoever was held up does not storm the gateway with all that was missed.
      due += (Math.min(pausedMs, CATCH_UP_MS) / 1_000) * callsPerSecond;
      for (; due >= 1; due--) {
        if (this.open < OPEN_LIMIT) void this.#play();
        else this.held++;
      }
    }
    if (this.open > 0) await new Promise((resolve) => (this.#idle = resolve));
  }

  stop() {
    this.#going = false;
  }

  /** As many as are done by some who begin the next as soon as the last one is over. */
  async pushOn(forMs) {
    const until = performance.now() + forMs;
    const work = async () => {
      while (performance.now() < until) await this.#play();
    };
    await Promise.all(Array.from({ length: WORKERS }, work));
  }

  /** What was done until now was for practice. */
  forget() {
    this.ledger.clear();
    this.done = 0;
    this.held = 0;
    this.longestPauseMs = 0;
  }

  async #play() {
    const scene = this.#pick();
    this.open++;
    const end = await withDeadline(scene.play(this.#clients));
    this.open--;
    this.done++;
    const ends = this.ledger.get(scene.name) ?? {};
    ends[end] = (ends[end] ?? 0) + 1;
    this.ledger.set(scene.name, ends);
    if (this.open === 0) this.#idle();
  }

  #pick() {
    let point = Math.random() * this.#sum;
    return this.#scenes.find(({ weight }) => (point -= weight) < 0) ?? this.#scenes[0];
  }
}

function withDeadline(playing) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, DEADLINE_MS, "hung");
    playing
      .catch((error) => `failed: ${error.message}`)
      .then((end) => {
        clearTimeout(timer);
        resolve(end);
      });
  });
}
