// Thrown by a pass over a body that ended because another one began: what it has seen is not all.

export class Superseded extends Error {
  override readonly name = "Superseded";
}
