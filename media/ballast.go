package media

// ballastSize is how much memory a pod with a room holds that it never touches, in bytes. It takes address
// space and no memory, but the garbage collector counts it, and so waits until twice as much more has
// been allocated: without it a small room's heap of 2 MiB was collected after every eighth join, which took a tenth of
// what joins cost. What it costs is as much garbage more, at most, before it is collected. Large rooms
// notice neither, and pods that wait for a room have none.
const ballastSize = 8 << 20
