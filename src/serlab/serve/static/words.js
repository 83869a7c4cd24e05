// Answers in words, times and spans; the same rules as those of the command line.

export function wordOf(found) {
  return found.label ?? (Object.keys(found.probabilities).length ? "can't tell" : "no speech");
}

export function sentence(message) {
  return `${message[0].toUpperCase()}${message.slice(1)}.`;
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

// Each moment belongs to the segment whose middle is nearest.
export function spansOf(segments) {
  return segments.map((segment, i) => {
    const middle = (other) => (segment.start + segment.end + other.start + other.end) / 4;
    return {
      segment,
      from: i ? middle(segments[i - 1]) : segment.start,
      to: i + 1 < segments.length ? middle(segments[i + 1]) : segment.end,
    };
  });
}
