#!/usr/bin/env python3
"""Counts what one tile costs in compiled code: the longest loop of each kernel in a cubin.

usage: count_instructions.py KERNELS.cubin [--nvdisasm PATH] [--whole]

With --whole: all instructions of each kernel, which of encoders and decoders, straight code for a quarter of a tile by a
warp, is what a warp executes at most; but for the encoders' search for trellis codes, whose loops are listed, those inside
others in brackets.

Printed per kernel: instructions on the path that every full tile takes, and those of blocks that are skipped by a branch
(raising the softmax reference, masking a short tile). Where a switch picks one of several kinds of codes, its arms are printed
apart, each with its IMMA and LDS, by which kinds can be told: a tile takes the path and one arm of each switch.
"""
import argparse
import collections
import re
import subprocess

# Executed by the integer pipe of sm_80 and sm_90 (64 lanes a cycle and SM).
ALU = {"LOP3", "PRMT", "SHF", "FMNMX", "ISETP", "FSETP", "SEL", "FSEL", "IADD3", "LEA", "I2FP", "VIADD", "VIMNMX", "PLOP3"}
FMA = {"FFMA", "FMUL", "FADD", "IMAD"}
SKIPPED_BLOCK = 8  # a forward branch over more than this many instructions skips a cold block


def parse(assembly):
    """Yields (kernel, instructions, label -> index)."""
    kernel, instructions, labels = None, [], {}
    for line in assembly.splitlines():
        section = re.match(r"\.section\s+\.text\.(\S+?),", line.strip())
        if section:
            if kernel:
                yield kernel, instructions, labels
            kernel, instructions, labels = section.group(1), [], {}
        label = re.match(r"(\.L_x_\d+):", line.strip())
        if label:
            labels[label.group(1)] = len(instructions)
        code = re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line)
        if code:
            instructions.append(code.group(1))
    if kernel:
        yield kernel, instructions, labels


def branch_target(instruction, labels):
    match = re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", instruction)
    return labels.get(match.group(1)) if match else None


def switch_arms(instructions, labels, begin, end):
    """Arms of switches in a loop, [(first, last + 1)] each: runs that end in a jump to where at least three such runs meet."""
    jumps = collections.defaultdict(list)
    for i in range(begin, end):
        target = branch_target(instructions[i], labels)
        if target is not None and target > i and instructions[i].startswith("BRA"):
            jumps[target].append(i)
    switches = []
    for join, ends in sorted(jumps.items()):
        if len(ends) < 3 or not any("BRX" in text for text in instructions[begin:join]):
            continue
        starts = sorted(at for at in set(labels.values()) if begin <= at < join)
        arms = []
        for last in ends + [join - 1]:
            # The arm's own first label: the latest after the arm before it, or after the dispatch.
            floor = arms[-1][1] if arms else max(i for i in range(begin, last) if "BRX" in instructions[i] and i < last) + 1
            dispatch = [i for i in range(floor, last) if "BRX" in instructions[i]]
            first = dispatch[-1] + 1 if dispatch else min((at for at in starts if at >= floor), default=floor)
            arms.append((first, last + 1))
        switches.append(arms)
    return switches


def loops(instructions, labels):
    """Lengths of loops, of all but the shortest, with those inside in brackets."""
    spans = [(target, i) for i, text in enumerate(instructions)
             if (target := branch_target(text, labels)) is not None and target + 2 * SKIPPED_BLOCK < i]

    def nested(first, last):
        inside = sorted(span for span in spans if first <= span[0] and span[1] <= last and span != (first, last))
        outer = [a for a in inside if not any(b[0] <= a[0] and a[1] <= b[1] and b != a for b in inside)]
        return ", ".join(str(b - a + 1) + (f" [{inner}]" if (inner := nested(a, b)) else "") for a, b in outer)

    return nested(-1, len(instructions))


def hot_path(instructions, labels):
    loops = [(i - target, target, i) for i, text in enumerate(instructions)
             if (target := branch_target(text, labels)) is not None and target <= i]
    if not loops:
        return [], 0, []
    _, at, end = max(loops)
    hot, skipped = [], 0
    switches = switch_arms(instructions, labels, at, end)
    in_arm = {i: arms[-1][1] for arms in switches for first, last in arms for i in range(first, last)}
    while at <= end:
        if at in in_arm:
            at = in_arm[at]
            continue
        hot.append(instructions[at])
        target = branch_target(instructions[at], labels)
        if target is not None and at + SKIPPED_BLOCK < target <= end:
            if not any("LDGSTS" in text for text in instructions[at:target]):
                skipped += target - at - 1
                at = target
                continue
        at += 1
    return hot, skipped, [[instructions[first:last] for first, last in arms] for arms in switches]


def operations(texts):
    return collections.Counter(re.sub(r"^@!?U?P\w+\s+", "", text).split()[0].split(".")[0] for text in texts)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("cubin")
    arguments.add_argument("--nvdisasm", default="nvdisasm")
    arguments.add_argument("--whole", action="store_true")
    options = arguments.parse_args()
    assembly = subprocess.run([options.nvdisasm, "-c", options.cubin], check=True, capture_output=True, text=True).stdout
    for kernel, instructions, labels in parse(assembly):
        hot, skipped, switches = (instructions, 0, []) if options.whole else hot_path(instructions, labels)
        if not hot:
            continue
        count = operations(hot)
        pipes = {"ALU": sum(count[op] for op in ALU), "FMA": sum(count[op] for op in FMA)}
        single = {op: count[op] for op in ("IMMA", "IDP", "SHFL", "LDS", "LDGSTS", "MUFU", "PRMT", "LOP3", "SHF", "I2FP", "LDL", "STL")}
        listed = loops(instructions, labels) if options.whole else ""
        print(f"{kernel}: {len(hot)} instructions, {skipped} skipped; {pipes | single}" + (listed and f"; loops {listed}"))
        for number, arms in enumerate(switches):
            for arm in arms:
                count = operations(arm)
                print(f"  switch {number}: {len(arm)} instructions; ALU {sum(count[op] for op in ALU)}, "
                      f"IMMA {count['IMMA']}, LDS {count['LDS']}")


if __name__ == "__main__":
    main()
