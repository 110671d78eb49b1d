//! The calls that only the operating system can answer. The one module with `unsafe`, each block with its argument.
#![allow(unsafe_code)]

/// Hands memory that the allocator has kept back to the system. Returns whether there was any such call to make.
///
/// glibc keeps the pages of a freed model for the process: 295 MB stayed resident after dropping a 118 MB model,
/// 31 MB after this call, which takes about 13 ms. So it is called after a version was dropped, on the thread that
/// reaps, never on a request's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn return_free_memory() -> bool {
    // SAFETY: `malloc_trim` takes no pointer, may be called from any thread at any time (it locks each arena in turn),
    // and touches only memory that is free (malloc_trim(3): "MT-Safe").
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other allocators have no such call, or need none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn return_free_memory() -> bool {
    false
}

/// Hands back what the allocator has kept, when it is dropped: as the last field of what owns models.
pub(crate) struct ReturnFreeMemory;

impl Drop for ReturnFreeMemory {
    fn drop(&mut self) {
        return_free_memory();
    }
}

/// The user that this process acts as.
#[cfg(all(unix, any(feature = "onnx", feature = "state")))]
pub(crate) fn user() -> u32 {
    // SAFETY: takes nothing, touches no memory of ours, and always succeeds (geteuid(2)).
    unsafe { libc::geteuid() }
}

/// Gives the calling thread only time that no other thread wants, `SCHED_IDLE`. A thread that wakes takes its core at once,
/// where one of nice 19 keeps it until its slice is over: requests of 0.1 ms had a p99 of 0.2 ms beside the first, and of 5 ms
/// beside the second. For threads that end with their work: a thread cannot raise its priority again. Whether it could be.
#[cfg(target_os = "linux")]
pub(crate) fn idle_thread_priority() -> bool {
    // SAFETY: `sched_param` is plain numbers, for which zero is right (sched_setscheduler(2): the priority must be 0 here).
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread; the pointer is to a value that outlives the call, which only reads it. Lowering needs
    // no privilege.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) == 0 }
}

/// Gives the calling thread the lowest priority that still gets some time on a full machine: nice 19, a sixtieth of what
/// others get. For threads that end with their work: a thread cannot raise its priority again. Whether it could be.
#[cfg(target_os = "linux")]
pub(crate) fn lower_thread_priority() -> bool {
    // SAFETY: takes three numbers and no pointer. On Linux 0 is the calling thread, not its process (setpriority(2), "C
    // library/kernel differences"), and lowering needs no privilege.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) == 0 }
}

/// Other systems have other ways, which nobody has tried here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn idle_thread_priority() -> bool {
    false
}

/// Like [`idle_thread_priority`].
#[cfg(not(target_os = "linux"))]
pub(crate) fn lower_thread_priority() -> bool {
    false
}

/// The version that ONNX Runtime's library gives, `1.23.2`. `loaded` is a library that this process has loaded as ONNX
/// Runtime; nothing where it does not answer.
#[cfg(feature = "onnx")]
pub(crate) fn onnxruntime_version(loaded: &std::path::Path) -> Option<String> {
    use ort::sys::OrtApiBase;
    // SAFETY: the library is in the process already, so no initialiser of it runs here: this only counts one user more
    // until the end of the function.
    let library = unsafe { libloading::Library::new(loaded) }.ok()?;
    // SAFETY: this is how ONNX Runtime declares the function in every version (onnxruntime_c_api.h), and ort has called
    // it by the same type.
    let base =
        unsafe { library.get::<unsafe extern "system" fn() -> *const OrtApiBase>(b"OrtGetApiBase") }.ok()?;
    // SAFETY: it takes nothing, and gives null or a struct that lives as long as the library, whose function for the
    // version gives null or a C string that lives as long.
    unsafe {
        let version = (base().as_ref()?.GetVersionString)();
        if version.is_null() {
            return None;
        }
        std::ffi::CStr::from_ptr(version).to_str().ok().map(str::to_owned)
    }
}

/// The bytes of a tensor, whatever its elements are; nothing where they are texts, or lie where the processor cannot read.
#[cfg(feature = "onnx")]
pub(crate) fn tensor_bytes(tensor: &ort::value::DynTensor) -> Option<&[u8]> {
    let length = readable_bytes(tensor)?;
    let start = tensor.data_ptr().cast::<u8>();
    if length == 0 || start.is_null() {
        return (length == 0).then_some(&[]);
    }
    // SAFETY: ONNX Runtime's tensor of this type and shape has `length` bytes from `start` on, which `readable_bytes` has found
    // to be plain and in the processor's own memory; they stay as long as the tensor, which is borrowed.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

/// The same, to be written to.
#[cfg(feature = "onnx")]
pub(crate) fn tensor_bytes_mut(tensor: &mut ort::value::DynTensor) -> Option<&mut [u8]> {
    let length = readable_bytes(tensor)?;
    let start = tensor.data_ptr_mut().cast::<u8>();
    if length == 0 || start.is_null() {
        return (length == 0).then_some(&mut []);
    }
    // SAFETY: as in `tensor_bytes`; and the tensor is borrowed for this alone. ort fills it with zeros when it is made.
    Some(unsafe { std::slice::from_raw_parts_mut(start, length) })
}

/// How many bytes a tensor has where they are plain ones in the processor's own memory.
#[cfg(feature = "onnx")]
fn readable_bytes(tensor: &ort::value::DynTensor) -> Option<usize> {
    let bytes = tensor.data_type().byte_size(tensor.shape().num_elements())?;
    tensor.memory_info().is_cpu_accessible().then_some(bytes)
}

/// Makes a named pipe, in a test.
#[cfg(all(test, unix))]
#[cfg_attr(not(any(feature = "repository", feature = "state", feature = "onnx")), allow(dead_code))]
pub(crate) fn make_pipe(path: &std::path::Path) {
    use std::os::unix::ffi::OsStrExt;
    // No path of a test has a zero in it; one that had would be no path here either.
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: the pointer is to a C string that outlives the call, which only reads it.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}
