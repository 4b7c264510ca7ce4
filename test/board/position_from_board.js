// Position of a ticket by a board of vqueue.board(), or of a board_number() where its order
// is "key"; null if the board is of another kind.
function positionFromBoard(board, ticket, priority = 'normal') {
  if (board.v !== 1 || !['ticket', 'key'].includes(board.order)) return null;
  const lane = board.lanes[priority], points = lane.points;
  let low = 0, high = points.length - 1;

  // Behind all who wait: whoever has a later ticket than the board knows comes in its order.
  if (high < 0 || ticket > points[high][0])
    return lane.next + (ticket < 2 ** 52 ? Math.max(ticket - board.last_ticket - 1, 0) : 0);

  // Before all who wait: it has been let in, or has left.
  if (ticket < points[0][0]) return 0;

  // The last point that is not behind the ticket.
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (points[middle][0] <= ticket) low = middle; else high = middle - 1;
  }
  const [t, p] = points[low];
  if (t === ticket) return p;
  const [nextT, nextP] = points[low + 1];
  return p + Math.floor((ticket - t) * (nextP - p) / (nextT - t));
}
